//! Progress on stderr: a bar on a terminal, now and then a line elsewhere.

use std::time::{Duration, Instant};

use groundstate::train::{Progress, Stage};
use indicatif::{ProgressBar, ProgressStyle};

use crate::console::Console;

/// Time between lines where no bar can be drawn.
const LINE_INTERVAL: Duration = Duration::from_secs(30);
/// Resolution of the bar of a training.
const BAR_STEPS: u64 = 1000;

/// A bar for `count` images.
pub(crate) fn images(console: &Console, what: &'static str, count: usize) -> ProgressBar {
    if console.quiet {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg:11} {bar:20} {pos} of {len}, {eta} left")
        .expect("the template is well-formed");
    ProgressBar::new(count as u64).with_style(style).with_message(what)
}

/// The progress of a training.
pub(crate) struct TrainingProgress {
    console: Console,
    bar: ProgressBar,
    last_line: Option<(Stage, Instant)>,
    begin: Option<Begin>,
}

/// Where a stage was when it was first heard of.
#[derive(Clone, Copy)]
struct Begin {
    stage: Stage,
    seconds: f64,
    done: f64,
}

impl TrainingProgress {
    /// Nothing is drawn before the first [`TrainingProgress::show`].
    pub(crate) fn new(console: &Console) -> Self {
        let style = ProgressStyle::with_template("{prefix:11} {bar:20} {wide_msg}")
            .expect("the template is well-formed");
        let hidden = console.quiet || !console.is_terminal();
        let bar = if hidden { ProgressBar::hidden() } else { ProgressBar::new(BAR_STEPS).with_style(style) };
        Self { console: *console, bar, last_line: None, begin: None }
    }

    /// Shows where a training is.
    pub(crate) fn show(&mut self, progress: &Progress) {
        let done = progress.done.unwrap_or(0.0);
        let begin = self.begin.filter(|begin| begin.stage == progress.stage).unwrap_or(Begin {
            stage: progress.stage,
            seconds: progress.seconds,
            done,
        });
        self.begin = Some(begin);
        let (stage, facts) = (stage_name(progress.stage), facts(progress, begin));
        if self.console.is_terminal() {
            self.bar.set_prefix(stage);
            self.bar.set_position((done.clamp(0.0, 1.0) * BAR_STEPS as f64) as u64);
            self.bar.set_message(facts);
        } else if self.line_is_due(progress.stage) {
            self.console.say(format_args!("{stage} {facts}"));
        }
    }

    /// Removes the bar.
    pub(crate) fn finish(self) {
        self.bar.finish_and_clear();
    }

    fn line_is_due(&mut self, stage: Stage) -> bool {
        let recent = |(last, at): &(Stage, Instant)| *last == stage && at.elapsed() < LINE_INTERVAL;
        let due = !self.last_line.as_ref().is_some_and(recent);
        if due {
            self.last_line = Some((stage, Instant::now()));
        }
        due
    }
}

fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Fit => "fitting",
        Stage::Learn => "learning",
        Stage::Calibrate => "calibrating",
    }
}

/// Loss, energy gap, speed and time left at the pace of the stage, as far as known.
fn facts(progress: &Progress, begin: Begin) -> String {
    let left = progress.done.filter(|&done| done > begin.done).map(|done| {
        let pace = (done - begin.done) / (progress.seconds - begin.seconds);
        (1.0 - done) / pace
    });
    let facts = [
        (progress.step > 0).then(|| format!("step {}", progress.step)),
        progress.loss.map(|loss| format!("loss {loss:.4}")),
        progress.energy_gap.map(|gap| format!("energy gap {gap:.3}")),
        progress.images_per_second.map(|rate| format!("{rate:.0} images/s")),
        left.map(|seconds| format!("{} left", duration(seconds))),
    ];
    facts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Whole seconds as `1m 5s`.
fn duration(seconds: f64) -> String {
    humantime::format_duration(Duration::from_secs(seconds.clamp(0.0, 1e9) as u64)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_of_a_learning_stage_are_named_with_their_units() {
        let progress = Progress {
            stage: Stage::Learn,
            seconds: 50.0,
            step: 120,
            done: Some(0.25),
            loss: Some(0.5),
            energy_gap: Some(2.0),
            images_per_second: Some(99.6),
        };
        // What came before the stage says nothing of its pace.
        let begin = Begin { stage: Stage::Learn, seconds: 20.0, done: 0.0 };
        let expected = "step 120, loss 0.5000, energy gap 2.000, 100 images/s, 1m 30s left";
        assert_eq!(facts(&progress, begin), expected);
        let resumed = Begin { done: 0.05, ..begin };
        assert!(facts(&progress, resumed).ends_with("1m 52s left"));
    }

    #[test]
    fn what_is_not_known_is_not_shown() {
        let begin = Begin { stage: Stage::Fit, seconds: 0.0, done: 0.0 };
        assert_eq!(facts(&Progress::stage(Stage::Fit, Instant::now()), begin), "");
    }
}

//! The page is self-contained, complete, escaped and honest about what it leaves out.

use std::collections::BTreeMap;
use std::io::Cursor;

use groundstate::evaluate::{Evaluation, Judged, evaluate};
use groundstate::image::{Map, Mask};
use groundstate::report::{Card, Meta, Picture, ReportError, TrainingPoint, choose, render, write};
use image::{ImageFormat, RgbImage};

const HOSTILE: &str = "<script>alert('x')</script>\"&.png";

fn judged(name: &str, defect: &str, score: f64) -> Judged {
    let anomalous = defect != "good";
    let mut map = Map::filled(4, 4, 0.0);
    map.values[0] = 1.0;
    let mut defective = vec![false; 16];
    defective[0] = anomalous;
    Judged {
        name: name.to_owned(),
        defect: defect.to_owned(),
        anomalous,
        scores: BTreeMap::from([("energy".to_owned(), score), ("z<max>".to_owned(), 2.0 * score)]),
        p_value: Some(0.0004),
        flagged: score >= 5.0,
        map: map.clone(),
        other_maps: BTreeMap::from([("gradient".to_owned(), map)]),
        mask: Some(Mask { width: 4, height: 4, defective }),
    }
}

/// Two mistakes of either kind among ten images.
fn evaluation() -> Evaluation {
    let images = [
        judged("good/0.png", "good", 1.0),
        judged("good/1.png", "good", 2.0),
        judged("good/2.png", "good", 6.0),
        judged("good/3.png", "good", 7.0),
        judged("crack/0.png", "crack", 8.0),
        judged("crack/1.png", "crack", 9.0),
        judged("crack/2.png", "crack", 3.0),
        judged("stain/0.png", "stain", 5.5),
        judged("stain/1.png", "stain", 4.0),
        judged(HOSTILE, "stain", 5.0),
    ];
    evaluate(&images, "energy", None).expect("a complete test set")
}

fn png() -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::new(2, 2).write_to(&mut bytes, ImageFormat::Png).expect("memory can be written");
    bytes.into_inner()
}

fn card(name: &str) -> Card {
    let picture = |label: &str| Picture { label: label.to_owned(), bytes: png() };
    Card { name: name.to_owned(), pictures: vec![picture("image"), picture("anomaly map")] }
}

fn all_cards(evaluation: &Evaluation) -> Vec<Card> {
    choose(evaluation, 60).into_iter().map(|at| card(&evaluation.images[at].name)).collect()
}

fn meta() -> Meta {
    let point = |step: u32| TrainingPoint {
        step: step.into(),
        loss: 1.0 / f64::from(1 + step),
        energy_gap: Some(step.into()),
    };
    Meta {
        title: "bolts & <nuts>".to_owned(),
        subtitle: "model.gsm".to_owned(),
        producer: "Groundstate".to_owned(),
        facts: vec![("Seed".to_owned(), "<7>".to_owned())],
        threshold: Some(5.0),
        training: (0..20).map(point).collect(),
        samples: vec![Picture { label: "chain 0".to_owned(), bytes: png() }],
    }
}

fn page() -> String {
    let evaluation = evaluation();
    render(&evaluation, &all_cards(&evaluation), &meta()).expect("a complete page")
}

/// Every value of the attribute `name` in the page.
fn attributes<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!(" {name}=\"");
    page.split(&start).skip(1).map(|rest| rest.split('"').next().expect("a closing quote")).collect()
}

#[test]
fn the_page_asks_for_nothing_from_outside() {
    let page = page();
    for forbidden in ["http://", "https://", "//cdn", "<link", "@import", "url(", "srcset", "<iframe"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    let sources = attributes(&page, "src");
    assert_eq!(sources.len(), 21);
    assert!(sources.iter().all(|source| source.starts_with("data:image/png;base64,")));
    assert!(attributes(&page, "href").is_empty());
    assert!(page.contains("default-src 'none'; img-src data:"));
}

#[test]
fn names_from_outside_are_escaped_everywhere() {
    let page = page();
    assert!(!page.contains("<script>alert"));
    assert!(!page.contains("z<max>") && !page.contains("<nuts>") && !page.contains("<7>"));
    // Once as text, once as the name that the filter reads, twice in the texts of its pictures.
    assert_eq!(page.matches("alert(").count(), 4);
    assert_eq!(page.matches("<script>").count(), 1);
    assert!(attributes(&page, "data-name").iter().any(|name| name.contains("alert")));
}

#[test]
fn every_section_chart_and_map_is_present() {
    let page = page();
    let ids = attributes(&page, "id");
    for section in ["headline", "verdicts", "scores", "curves", "samples", "gallery", "notes"] {
        assert!(ids.contains(&section), "{section}");
    }
    for title in [
        "ROC over images",
        "Scores of normal and anomalous images",
        "Per-region overlap",
        "Training loss",
        "Energy gap in training",
    ] {
        assert!(page.contains(&format!("<figcaption>{title}</figcaption>")), "{title}");
    }
    assert!(page.contains("<code>gradient</code>"));
    assert!(page.contains("flagged above 5.000") && page.contains("class=\"line mark\""));
    assert!(page.contains("Found 4 of 6 (66.7 %) defective images and rejected 2 of 4 (50.0 %) good ones."));
    assert!(page.contains("p &#60; 0.001"));
}

#[test]
fn pictures_have_texts_and_tables_have_captions() {
    let page = page();
    assert_eq!(attributes(&page, "alt").len(), page.matches("<img ").count());
    assert!(attributes(&page, "alt").iter().all(|text| text.contains(" of ")));
    assert_eq!(page.matches("<caption>").count(), page.matches("<table").count());
    assert_eq!(page.matches("role=\"img\" aria-label").count(), 5);
}

#[test]
fn the_score_that_decides_is_marked() {
    let page = page();
    let row = page.split("<tr class=\"default\">").nth(1).expect("a marked row");
    assert!(row.starts_with("<th scope=\"row\"><code>energy</code>"), "{}", &row[..60]);
}

#[test]
fn the_worst_mistakes_come_first() {
    let evaluation = evaluation();
    let names = |limit: usize| -> Vec<&str> {
        choose(&evaluation, limit).into_iter().map(|at| evaluation.images[at].name.as_str()).collect()
    };
    assert_eq!(names(4), ["good/3.png", "crack/2.png", "crack/1.png", "stain/0.png"]);
    assert_eq!(
        names(60),
        [
            "good/3.png",
            "crack/2.png",
            "good/2.png",
            "stain/1.png",
            "crack/1.png",
            "stain/0.png",
            "good/0.png",
            "crack/0.png",
            HOSTILE,
            "good/1.png",
        ]
    );
    assert!(names(0).is_empty());
    let page = page();
    let shown: Vec<&str> = attributes(&page, "data-name");
    assert_eq!(shown[..5], ["good/3.png", "good/2.png", "crack/2.png", "stain/1.png", "crack/1.png"]);
}

#[test]
fn the_page_says_how_many_images_it_shows() {
    let evaluation = evaluation();
    let two = render(&evaluation, &[card("good/0.png"), card("crack/1.png")], &meta()).expect("a page");
    assert!(two.contains("2 of 10 images shown"));
    assert!(page().contains("10 of 10 images shown"));
}

#[test]
fn pictures_beyond_the_budget_are_left_out() {
    let evaluation = evaluation();
    let mut bytes = png();
    bytes.resize(3_000_000, 0);
    let cards: Vec<Card> = evaluation
        .images
        .iter()
        .map(|image| Card {
            name: image.name.clone(),
            pictures: vec![Picture { label: "image".to_owned(), bytes: bytes.clone() }],
        })
        .collect();
    let page = render(&evaluation, &cards, &meta()).expect("a page");
    assert!(page.contains("3 of 10 images shown"));
    assert!(page.len() < 15_000_000, "{}", page.len());
}

#[test]
fn what_is_not_defined_is_explained() {
    let images = [judged("good/0.png", "good", 1.0), judged("good/1.png", "good", 6.0)];
    let evaluation = evaluate(&images, "energy", None).expect("false rejects can be counted");
    let page = render(&evaluation, &[], &Meta::default()).expect("a page");
    assert!(page.contains("found 2 normal and 0 anomalous images"));
    assert!(page.contains("aupro_05, aupro_30") && page.contains("No pixel metrics: see the notes."));
    assert!(page.contains("rejected 1 of 2 (50.0 %) good ones"));
    assert!(!page.contains("NaN") && !page.contains("inf"));
}

#[test]
fn an_evaluation_edited_by_hand_is_refused_or_shown_but_never_a_panic() {
    let mut edited = evaluation();
    edited.verdicts.false_rejects = 400;
    edited.image_auroc.clear();
    edited.pro_curve = vec![[0.0, f64::NAN]];
    render(&edited, &[], &meta()).expect("a page with odd numbers");
    edited.images.clear();
    render(&edited, &[], &meta()).expect("a page without images");
    let mut without_default = evaluation();
    without_default.default_score = "other".to_owned();
    let error = render(&without_default, &[card("good/0.png")], &meta()).expect_err("no such score");
    assert_eq!(
        error.to_string(),
        "image `good/0.png` has no score `other`, which the evaluation names as its default"
    );
}

#[test]
fn cards_that_do_not_fit_the_evaluation_are_refused() {
    let evaluation = evaluation();
    let unknown = render(&evaluation, &[card("elsewhere.png")], &meta()).expect_err("unknown image");
    assert!(matches!(unknown, ReportError::UnknownCard { .. }), "{unknown}");
    let text = Picture { label: "image".to_owned(), bytes: b"<svg onload=alert(1)>".to_vec() };
    let card = Card { name: "good/0.png".to_owned(), pictures: vec![text] };
    let format = render(&evaluation, &[card], &meta()).expect_err("not a picture");
    assert_eq!(format.to_string(), "the picture `image` of `good/0.png` is neither PNG nor JPEG");
}

#[test]
fn writing_replaces_an_older_page_and_leaves_nothing_else() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let target = dir.path().join("nested/report");
    let evaluation = evaluation();
    write(&target, &evaluation, &[], &meta()).expect("a first page");
    let path = write(&target, &evaluation, &all_cards(&evaluation), &meta()).expect("a second page");
    assert_eq!(path, target.join("index.html"));
    assert_eq!(std::fs::read_to_string(path).expect("the page"), page());
    assert_eq!(std::fs::read_dir(&target).expect("the directory").count(), 1);
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("file");
    std::fs::write(&file, "in the way").expect("a file");
    let error = write(&file, &evaluation(), &[], &meta()).expect_err("a file is in the way");
    assert!(error.to_string().starts_with("cannot write ") && error.to_string().ends_with("index.html"));
}

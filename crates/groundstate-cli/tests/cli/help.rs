//! The help, word for word. `UPDATE_HELP=1 cargo test -p groundstate-cli` writes the file anew.

use std::fs;
use std::path::Path;

use crate::groundstate;

#[test]
fn the_help_reads_as_agreed() {
    let mut help = groundstate!("--help").text();
    for command in ["train", "inspect", "calibrate", "drift", "evaluate", "benchmark", "demo", "info"] {
        help += &format!("\n==== groundstate {command} --help\n\n{}", groundstate!(command, "--help").text());
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/help.txt");
    if std::env::var_os("UPDATE_HELP").is_some() {
        fs::write(&path, &help).unwrap();
    }
    let agreed = fs::read_to_string(&path).unwrap();
    assert!(help == agreed, "the help differs from tests/cli/help.txt:\n{help}");
}

#[test]
fn mistyped_arguments_exit_with_2() {
    assert_eq!(groundstate!("train").code, Some(2));
    let method = groundstate!("train", "data", "-o", "m", "--method", "magic");
    assert_eq!(method.code, Some(2));
    assert!(method.stderr.contains("gaussian"), "the choices are named: {}", method.stderr);
    assert!(groundstate!("--version").text().starts_with("groundstate "));
}

//! ARCHITECTURE.md lists the modules, lowest first; each may use only those above it in that list.

use std::fs;
use std::path::Path;

/// The modules in the order of ARCHITECTURE.md's table.
fn listed() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ARCHITECTURE.md");
    let text = fs::read_to_string(path).expect("ARCHITECTURE.md stands at the root of the workspace");
    let table = text.split("## Modules of `groundstate`").nth(1).expect("the section with the table");
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.split('`').nth(1).expect("a name in backquotes").to_owned()).collect()
}

/// Source files below a module, with their text up to the unit tests.
fn sources(module: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut open = vec![root.join(module), root.join(format!("{module}.rs"))];
    open.retain(|path| path.exists());
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|e| e == "rs") && !path.to_string_lossy().ends_with("tests.rs")
        {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap().to_owned();
            found.push((path.display().to_string(), code));
        }
    }
    found
}

#[test]
fn every_module_is_listed_once() {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let declared = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let (mut declared, mut listed): (Vec<String>, _) = (declared.map(str::to_owned).collect(), listed());
    declared.sort();
    listed.sort();
    assert_eq!(declared, listed);
}

#[test]
fn each_module_uses_only_those_above_it() {
    let order = listed();
    let mut checked = 0;
    for (place, module) in order.iter().enumerate() {
        for (file, code) in sources(module) {
            checked += 1;
            let uses = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            for line in uses.filter(|line| line.contains("crate::")) {
                for used in line.split("crate::").skip(1) {
                    let name: String =
                        used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                    let at = order.iter().position(|m| *m == name);
                    let at = at.unwrap_or_else(|| panic!("{file} uses {name}, which is not listed"));
                    assert!(at <= place, "{file}: {module} uses {name}, which comes after it");
                }
            }
        }
    }
    assert!(checked > 20, "only {checked} files were found");
}

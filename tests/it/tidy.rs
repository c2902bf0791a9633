//! Rules about the code itself that a machine can hold.

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const LINES_MAX: usize = 500;

fn files(folder: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(ROOT).join(folder), &mut found);
    found.sort();
    found
}

fn name(path: &Path) -> String {
    path.strip_prefix(ROOT).unwrap().display().to_string()
}

#[test]
fn every_file_says_what_it_is_and_is_short() {
    for path in files("src").into_iter().chain(files("tests")) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{}: begin with `//!` and one sentence", name(&path));
        assert!(text.lines().count() <= LINES_MAX, "{}: more than {LINES_MAX} lines; two rooms in one?", name(&path));
        for word in ["todo!(", "unimplemented!(", "dbg!(", "FIXME", "#[ignore"] {
            let is_this_list = path.ends_with("it/tidy.rs");
            assert!(is_this_list || !text.contains(word), "{}: `{word}` is left", name(&path));
        }
    }
}

#[test]
fn no_test_file_is_forgotten() {
    let main = fs::read_to_string(Path::new(ROOT).join("tests/it/main.rs")).unwrap();
    for path in files("tests/it") {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let is_top = path.parent().unwrap().ends_with("it") && stem != "main";
        assert!(!is_top || main.contains(&format!("mod {stem};")), "{} is not in tests/it/main.rs", name(&path));
    }
}

/// Folders in the order of their layers; a file may import from its own and from those before it.
const LAYERS: &[&[&str]] = &[
    &["error", "clock", "id", "level", "page", "text", "secret"],
    &["vault", "adapter", "replica", "store"],
    &["config"],
    &["app"],
    &["registry"],
    &["import", "tools"],
    &["surface"],
    &["cli", "main", "lib"],
];

#[test]
fn nothing_imports_from_a_layer_above() {
    let layer = |noun: &str| LAYERS.iter().position(|nouns| nouns.contains(&noun));
    for path in files("src") {
        let inside = path.strip_prefix(Path::new(ROOT).join("src")).unwrap();
        let noun = inside.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
        let own = layer(&noun).unwrap_or_else(|| panic!("{}: `{noun}` has no layer in tests/it/tidy.rs", name(&path)));
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for used in code.split("crate::").skip(1) {
            let used: String = used.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            if let Some(other) = layer(&used) {
                assert!(other <= own, "{} imports crate::{used}, a layer above its own", name(&path));
            }
        }
    }
}

//! Every decoder is fuzzed, and nothing else.

use std::{collections::BTreeSet, fs, path::PathBuf};

use flare_decoders::DECODERS;

fn fuzz() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn names() -> BTreeSet<String> {
    DECODERS.iter().map(|it| it.name.to_owned()).collect()
}

#[test]
fn every_decoder_has_a_target_and_every_target_a_decoder() {
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let targets = manifest["bin"].as_array().unwrap();
    let text = |it: &toml::Value, key| it[key].as_str().unwrap().to_owned();
    let declared: BTreeSet<String> = targets.iter().map(|it| text(it, "name")).collect();
    assert_eq!(declared, names());
    for target in targets {
        let expected = format!("targets/{}.rs", text(target, "name"));
        assert_eq!(text(target, "path"), expected);
    }
}

#[test]
fn every_target_fuzzes_the_decoder_of_its_name() {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(fuzz().join("targets")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let source = fs::read_to_string(&path).unwrap();
        assert!(
            source.contains(&format!("flare_fuzz::target!(\"{name}\");")),
            "{} fuzzes something else",
            path.display()
        );
        found.insert(name);
    }
    assert_eq!(found, names());
}

//! Every decoder, by its examples, by what comes of them when they are changed, and by inputs that once broke it.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeSet, fs, path::Path, thread};

use flare_decoders::{DECODERS, Decoder, decoder, mutation::mutations};

/// Changed examples with several changes at once, for each decoder.
const MIXED: usize = 500;
const SEED: u64 = 7;

/// Judges a decoder by each of these, up to the first that breaks it, which is returned.
fn broken(decoder: &Decoder, inputs: impl Iterator<Item = Vec<u8>>) -> Option<String> {
    for bytes in inputs {
        if std::panic::catch_unwind(|| decoder.run(&bytes)).is_err() {
            return Some(format!("{} by \"{}\"", decoder.name, bytes.escape_ascii()));
        }
    }
    None
}

/// All decoders on two threads; names those that were broken.
fn judge_all(judge: impl Fn(&Decoder) -> Option<String> + Sync) {
    let (left, right) = DECODERS.split_at(DECODERS.len() / 2);
    let broken: Vec<String> = thread::scope(|scope| {
        let judge = &judge;
        let half =
            |half: &'static [Decoder]| scope.spawn(move || half.iter().filter_map(judge).collect());
        let halves: [thread::ScopedJoinHandle<'_, Vec<String>>; 2] = [half(left), half(right)];
        let join = |it: thread::ScopedJoinHandle<'_, Vec<String>>| it.join().unwrap();
        halves.into_iter().flat_map(join).collect()
    });
    assert!(broken.is_empty(), "broken:\n{}", broken.join("\n"));
}

#[test]
fn every_decoder_has_a_name_of_its_own_and_examples() {
    let names: BTreeSet<&str> = DECODERS.iter().map(|it| it.name).collect();
    assert_eq!(names.len(), DECODERS.len());
    for decoder in DECODERS {
        let corpus = (decoder.corpus)();
        assert!(!corpus.is_empty(), "{} has no example", decoder.name);
        assert!(
            corpus.iter().all(|it| it.len() <= decoder.most_bytes),
            "{}: an example is longer than what is fuzzed",
            decoder.name
        );
    }
}

#[test]
fn every_decoder_keeps_its_word_for_its_examples_and_for_what_comes_of_them() {
    judge_all(|decoder| {
        let corpus = (decoder.corpus)();
        broken(decoder, mutations(&corpus, SEED, MIXED))
    });
}

#[test]
fn what_once_broke_a_decoder_breaks_it_no_more() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let decoder = decoder(&name).unwrap_or_else(|| panic!("there is no decoder {name}"));
        let files = fs::read_dir(entry.path()).unwrap();
        let inputs: Vec<_> = files
            .map(|it| fs::read(it.unwrap().path()).unwrap())
            .collect();
        assert!(!inputs.is_empty(), "{name} was never broken");
        assert_eq!(broken(decoder, inputs.into_iter()), None);
    }
}

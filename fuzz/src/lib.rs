#![doc = include_str!("../README.md")]

use std::{env, path::Path};

use flare_decoders::Decoder;
pub use libfuzzer_sys;

/// Names the folder into which a target writes the decoder's examples before it begins.
const SEEDS_VARIABLE: &str = "FLARE_FUZZ_SEEDS";

/// The decoder of this name, its examples written where the fuzzer was told to look.
pub fn prepare(name: &str) -> &'static Decoder {
    let decoder = flare_decoders::decoder(name);
    let decoder = decoder.unwrap_or_else(|| panic!("there is no decoder {name}"));
    if let Some(folder) = env::var_os(SEEDS_VARIABLE) {
        let written = decoder.write_corpus(Path::new(&folder));
        written.unwrap_or_else(|error| panic!("{}: {error}", Path::new(&folder).display()));
    }
    decoder
}

/// Makes a target of the decoder of this name.
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        static DECODER: std::sync::LazyLock<&'static flare_decoders::Decoder> =
            std::sync::LazyLock::new(|| $crate::prepare($name));

        $crate::libfuzzer_sys::fuzz_target!(
            init: {
                std::sync::LazyLock::force(&DECODER);
            },
            |bytes: &[u8]| {
                DECODER.run(bytes);
            }
        );
    };
}

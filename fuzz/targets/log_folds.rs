//! Fuzzes `log_folds` of flare-decoders.

#![no_main]

flare_fuzz::target!("log_folds");

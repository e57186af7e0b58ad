//! Fuzzes `configuration_files` of flare-decoders.

#![no_main]

flare_fuzz::target!("configuration_files");

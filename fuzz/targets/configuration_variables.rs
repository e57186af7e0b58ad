//! Fuzzes `configuration_variables` of flare-decoders.

#![no_main]

flare_fuzz::target!("configuration_variables");

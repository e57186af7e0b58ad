//! Fuzzes `contract_json` of flare-decoders.

#![no_main]

flare_fuzz::target!("contract_json");

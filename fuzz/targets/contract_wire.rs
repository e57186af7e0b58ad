//! Fuzzes `contract_wire` of flare-decoders.

#![no_main]

flare_fuzz::target!("contract_wire");

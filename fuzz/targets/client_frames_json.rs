//! Fuzzes `client_frames_json` of flare-decoders.

#![no_main]

flare_fuzz::target!("client_frames_json");

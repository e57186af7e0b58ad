//! Fuzzes `client_frames_proto` of flare-decoders.

#![no_main]

flare_fuzz::target!("client_frames_proto");

//! Fuzzes `server_frames_proto` of flare-decoders.

#![no_main]

flare_fuzz::target!("server_frames_proto");

//! What is embedded by macros, which cargo does not watch by itself.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed=../web");
}

//! Gives the linker the memory map, cortex-m-rt's script, and defmt's for what logs.

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    println!("cargo:rustc-link-search={here}");
    println!("cargo:rustc-link-arg-bins=-Tlink.x");
    println!("cargo:rustc-link-arg-bin=log=-Tdefmt.x");
    println!("cargo:rerun-if-changed=memory.x");
}

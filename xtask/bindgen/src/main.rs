//! `umbel-bindgen IN.wasm OUT_DIR`: the JavaScript around a WebAssembly module, as an ES module with the
//! name of the input.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<()> {
    let args: Vec<_> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [input, out] = &args[..] else {
        bail!("usage: umbel-bindgen IN.wasm OUT_DIR");
    };
    Bindgen::new()
        .input_path(input)
        .web(true)?
        .typescript(false)
        .generate(out)
        .with_context(|| format!("{} cannot be bound", input.display()))
}

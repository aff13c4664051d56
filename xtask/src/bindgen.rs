//! Modules for JavaScript. `umbel-bindgen`, in `xtask/bindgen`, makes what is around them; it is built when it
//! is first needed.

use crate::step::{Cmd, target_dir};
use anyhow::{Result, ensure};
use std::path::{Path, PathBuf};

pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// A workspace of its own: it is for this machine, and has many dependencies.
pub(crate) const MANIFEST: &str = "xtask/bindgen/Cargo.toml";

/// Builds the library `package` of the workspace and binds it; the ES module lies in `target/NAME`.
pub(crate) fn build(package: &str, name: &str) -> Result<PathBuf> {
    let cmd = Cmd::new(&format!("cargo build --target {TARGET} -p {package}"))
        // It is loaded once for each test; panics say where without it.
        .env("CARGO_PROFILE_DEV_DEBUG", "0");
    println!("$ {cmd}");
    ensure!(cmd.to_command().status()?.success(), "it is not built");
    let library = package.replace('-', "_");
    let module = target_dir().join(format!("{TARGET}/debug/{library}.wasm"));
    let out = target_dir().join(name);
    bind(&module, &out)?;
    Ok(out.join(format!("{library}.js")))
}

/// Writes an ES module for `module` to the folder `out`: for Node.js and browsers.
pub(crate) fn bind(module: &Path, out: &Path) -> Result<()> {
    let cmd = Cmd::new("cargo run --quiet --locked --manifest-path")
        .arg(MANIFEST)
        .target_dir("bindgen")
        .arg("--")
        .arg(module.display().to_string())
        .arg(out.display().to_string());
    println!("$ {cmd}");
    ensure!(cmd.to_command().status()?.success(), "it is not bound");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// The version of `package` in a lock file.
    fn locked(lock: &str, package: &str) -> Option<String> {
        let (_, entry) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
        Some(entry.split_once('"')?.0.to_owned())
    }

    #[test]
    fn what_binds_is_of_the_version_of_what_is_bound() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
        let ours = locked(&read("Cargo.lock"), "wasm-bindgen");
        let binds = locked(
            &read("xtask/bindgen/Cargo.lock"),
            "wasm-bindgen-cli-support",
        );
        assert!(ours.is_some());
        assert_eq!(binds, ours);
    }
}

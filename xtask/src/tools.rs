//! What a step needs beyond a stable toolchain: looked for, fetched through rustup where it can be
//! had, otherwise named.

use crate::step::Cmd;
use std::collections::HashMap;
use std::path::Path;

/// Something a newcomer's machine may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Need {
    /// The standard library of a target, for the caller's toolchain.
    Target(&'static str),
    /// `rustfmt` or `clippy`, for the caller's toolchain.
    Component(&'static str),
    /// A toolchain by its version; fetched if it is missing.
    Toolchain(&'static str),
    /// A nightly. Which one is the user's choice, so it is not fetched.
    Nightly,
    /// A component of the nightly.
    NightlyComponent(&'static str),
    /// `cargo install cargo-NAME`: takes minutes, so it is not fetched.
    CargoTool(&'static str),
    /// A program of the system. Installing it is the user's to do.
    Program(&'static str),
    /// `cargo install NAME`, a program of the same name: not fetched, as above.
    CratesProgram(&'static str),
    /// A linker, and libraries, for 32-bit programs. Installing them is the user's to do.
    Gcc32,
    /// A browser, and the program by which it is driven. Installing them is the user's to do.
    Chromium,
}

/// Looks for things once, and remembers.
#[derive(Debug, Default)]
pub(crate) struct Tools {
    known: HashMap<Need, Result<(), String>>,
}

impl Tools {
    /// Makes sure of `need`; otherwise says what is missing and how to get it.
    pub(crate) fn provide(&mut self, need: &Need) -> Result<(), String> {
        if let Some(known) = self.known.get(need) {
            return known.clone();
        }
        let found = provide(*need);
        self.known.insert(*need, found.clone());
        found
    }
}

fn provide(need: Need) -> Result<(), String> {
    if present(need) {
        return Ok(());
    }
    let fetch = match need {
        Need::Target(target) => format!("rustup target add {target}"),
        Need::Component(name) => format!("rustup component add {name}"),
        Need::Toolchain(version) => format!("rustup toolchain install {version} --profile minimal"),
        Need::NightlyComponent(name) => {
            provide(Need::Nightly)?;
            format!("rustup component add {name} --toolchain nightly")
        }
        Need::Nightly => {
            return Err(
                "no nightly toolchain; get it with: rustup toolchain install nightly \
                        --component miri --component rust-src"
                    .into(),
            );
        }
        Need::Program(name) => {
            return Err(format!(
                "no {name}; get it from the system's packages, for example: apt-get install {name}"
            ));
        }
        Need::Gcc32 => {
            return Err(
                "no 32-bit libraries for gcc; on Debian: apt-get install gcc-multilib".into(),
            );
        }
        Need::Chromium => {
            return Err(
                "no Chromium with its chromedriver; on Debian: apt-get install chromium chromium-driver"
                    .into(),
            );
        }
        Need::CratesProgram(name) => {
            return Err(format!("no {name}; get it with: cargo install {name}"));
        }
        Need::CargoTool(name) => {
            return Err(format!(
                "no cargo-{name}; get it with: cargo install cargo-{name}"
            ));
        }
    };
    println!("$ {fetch}");
    let error = match Cmd::new(&fetch).to_command().output() {
        Ok(output) if output.status.success() && present(need) => return Ok(()),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            text.lines()
                .find(|line| line.starts_with("error"))
                .unwrap_or("it changed nothing")
                .to_owned()
        }
        Err(error) => error.to_string(),
    };
    Err(format!("missing, and `{fetch}` failed: {error}"))
}

fn present(need: Need) -> bool {
    let stdout = |line: &str| stdout(&Cmd::new(line));
    match need {
        Need::Target(target) => stdout(&format!("rustc --print target-libdir --target {target}"))
            .is_some_and(|dir| Path::new(&dir).is_dir()),
        Need::Component("rustfmt") => stdout("cargo fmt --version").is_some(),
        Need::Component(name) => stdout(&format!("cargo {name} --version")).is_some(),
        Need::Toolchain(version) => stdout(&format!("cargo +{version} --version")).is_some(),
        Need::Nightly => stdout("cargo +nightly --version").is_some(),
        Need::NightlyComponent("rust-src") => {
            stdout("rustc +nightly --print sysroot").is_some_and(|root| {
                Path::new(&root)
                    .join("lib/rustlib/src/rust/library")
                    .is_dir()
            })
        }
        Need::NightlyComponent(name) => {
            stdout(&format!("cargo +nightly {name} --version")).is_some()
        }
        // `cargo fuzz --version` and the like; cargo itself says so if there is no such command.
        Need::CargoTool(name) => stdout(&format!("cargo {name} --version")).is_some(),
        // Not each of them knows that option, but who says so is there.
        Need::Program(name) | Need::CratesProgram(name) => Cmd::new(name)
            .arg("--version")
            .to_command()
            .output()
            .is_ok(),
        Need::Chromium => {
            let browsers = ["chromium", "chromium-browser", "google-chrome"];
            stdout("chromedriver --version").is_some()
                && browsers
                    .iter()
                    .any(|name| stdout(&format!("{name} --version")).is_some())
        }
        // A path if it is there, otherwise the bare name.
        Need::Gcc32 => stdout("gcc -m32 -print-file-name=crt1.o")
            .is_some_and(|path| Path::new(&path).is_absolute()),
    }
}

/// What a command prints, if it succeeds.
pub(crate) fn stdout(cmd: &Cmd) -> Option<String> {
    let output = cmd.to_command().output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_compiled_this_test() {
        assert!(
            stdout(&Cmd::new("rustc --version")).is_some_and(|text| text.starts_with("rustc "))
        );
    }

    #[test]
    fn names_what_cannot_be_had() {
        let lack = Tools::default()
            .provide(&Need::Target("no-such-target"))
            .unwrap_err();
        assert!(lack.contains("rustup target add no-such-target"), "{lack}");

        let lack = Tools::default()
            .provide(&Need::Program("no-such-program"))
            .unwrap_err();
        assert!(lack.contains("apt-get install no-such-program"), "{lack}");
    }
}

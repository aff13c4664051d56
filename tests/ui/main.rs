//! What the compiler tells whoever makes a mistake with this crate: each file in `cases` is one, beside
//! it the errors. `cargo xtask ui` compares them, under the one compiler whose words they are.

use std::fs;
use std::path::Path;

fn main() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::env::set_current_dir(here).expect("the sources are gone");
    trybuild::TestCases::new().compile_fail("cases/*.rs");
    assert_no_std_source();
}

/// The standard library's lines are shown only where its source is installed.
fn assert_no_std_source() {
    for entry in fs::read_dir("cases").expect("no cases") {
        let path = entry.expect("an unreadable case").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "stderr")
        {
            let text = fs::read_to_string(&path).expect("an unreadable text");
            let path = path.display();
            assert!(!text.contains("$RUST"), "{path} depends on rust-src");
        }
    }
}

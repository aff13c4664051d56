//! Compiles the C of `ffi/`. Without a C compiler the other examples build all the same, and that one
//! says what it lacks.

fn main() {
    println!("cargo::rerun-if-changed=ffi/collatz.c");
    println!("cargo::rustc-check-cfg=cfg(no_c_compiler)");
    let built = cc::Build::new()
        .file("ffi/collatz.c")
        .warnings_into_errors(true)
        .extra_warnings(true)
        .try_compile("collatz");
    if let Err(e) = built {
        println!(
            "cargo::warning=ffi/collatz.c cannot be compiled, which the example `ffi` needs: {e}"
        );
        println!("cargo::rustc-cfg=no_c_compiler");
    }
}

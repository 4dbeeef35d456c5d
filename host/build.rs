//! Rebuilds the program when the dashboard or the migrations have changed.

fn main() {
    // Its names of files change with their content, and it names them all. While it is
    // missing, every build looks again.
    println!("cargo:rerun-if-changed=../dashboard/build/index.html");
    // The migrations are embedded. The compiler tracks those it has read, not a new file.
    println!("cargo:rerun-if-changed=../migrations");
}

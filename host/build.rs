//! Rebuilds the program when the dashboard or the migrations have changed.

fn main() {
    // The page names all files of the dashboard, and those names change with their content. While
    // it is missing, every build runs this script again.
    println!("cargo:rerun-if-changed=../dashboard/build/index.html");
    // The migrations are embedded. The compiler tracks the files that it has read, not new ones.
    println!("cargo:rerun-if-changed=../migrations");
}

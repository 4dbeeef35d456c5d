//! Has the program built anew when the dashboard was.

fn main() {
    // Its names of files change with their content, and it names them all. While it is
    // missing, every build looks again.
    println!("cargo:rerun-if-changed=../dashboard/build/index.html");
}

//! The `tapeline` program.
fn main() {
    println!("{}", tapeline::config::Config::default().show());
}

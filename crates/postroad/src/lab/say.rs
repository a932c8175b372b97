//! How the lab talks: short lines, colour only on a terminal.

use std::io::IsTerminal;

fn colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// `text` in an ANSI style, where that can be seen.
pub fn styled(style: &str, text: &str) -> String {
    if colour() { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
}

pub fn bold(text: &str) -> String {
    styled("1", text)
}

pub fn dim(text: &str) -> String {
    styled("2", text)
}

pub fn title(text: &str) {
    println!("\n{}", bold(text));
}

pub fn chapter(number: u32, text: &str) {
    println!("\n{} {}", styled("1;36", &format!("{number}.")), bold(text));
}

pub fn done(text: &str) {
    println!("  {} {text}", styled("32", "✓"));
}

pub fn failed(text: &str) {
    println!("  {} {text}", styled("1;31", "✗"));
}

pub fn note(text: &str) {
    println!("  {} {text}", dim("·"));
}

pub fn quote(text: &str) {
    for line in text.lines() {
        println!("    {} {line}", dim("│"));
    }
}

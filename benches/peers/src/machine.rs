//! What the figures were measured on.

use std::fs;
use std::process::Command;

pub(crate) fn print() {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("CPU unknown", |(_, model)| model);
    println!("{model}");
    let rustc = Command::new("rustc").arg("--version").output();
    match rustc {
        Ok(output) => println!("{}", String::from_utf8_lossy(&output.stdout).trim_end()),
        Err(_) => println!("rustc unknown"),
    }
}

//! The command line as a whole.

use clap::CommandFactory;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::*;

/// Reads a response of the server.
pub(super) fn read<T: DeserializeOwned>(json: &Value) -> T {
    T::deserialize(json).unwrap()
}

#[test]
fn the_command_line_is_well_formed_and_its_help_has_the_first_steps() {
    let mut command = Command::command();
    command.clone().debug_assert();
    let help = command.render_long_help().to_string();
    for step in [
        "serve",
        "deploy hello.rhai --app demo",
        "PICLOUD_OWNER_KEY",
        "logs",
        "events send",
        "dead-letters list",
    ] {
        assert!(help.contains(step), "{step} is not in\n{help}");
    }
}

/// Returns all commands that do something, with their full names.
pub(super) fn commands(command: &clap::Command, before: &str) -> Vec<(String, clap::Command)> {
    let name = format!("{before}{}", command.get_name());
    let subcommands: Vec<_> = command.get_subcommands().collect();
    let mut all = Vec::new();
    if subcommands.is_empty() || !command.is_subcommand_required_set() {
        all.push((name.clone(), command.clone()));
    }
    let below = subcommands.iter().filter(|command| command.get_name() != "help");
    all.extend(below.flat_map(|command| commands(command, &format!("{name} "))));
    all
}

#[test]
fn every_command_that_prints_does_so_as_json_too() {
    let silent = [
        "serve",
        "scripts endpoint",
        "scripts delete",
        "apps create",
        "apps rename",
        "apps delete",
        "routes update",
        "routes delete",
        "triggers enable",
        "triggers disable",
        "triggers delete",
        "events cancel",
        "keys revoke",
        "users role",
        "members set",
        "members remove",
        "secrets set",
        "secrets delete",
        "compact",
        "compile-guest",
        // Prints the bytes of a file.
        "files get",
    ];
    let mut without = Vec::new();
    for (name, command) in commands(&Command::command(), "") {
        if !command.get_arguments().any(|argument| argument.get_id() == "json") {
            without.push(name.strip_prefix("picloud ").unwrap_or(&name).to_owned());
        }
    }
    without.sort();
    let mut silent = silent.map(str::to_owned);
    silent.sort();
    assert_eq!(without, silent);
}

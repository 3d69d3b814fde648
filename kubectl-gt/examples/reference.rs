//! Writes what is generated from the command line's definition: `docs/cli.md` and the man pages, into the folder that
//! the first argument names. `cargo xtask generate` runs it.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use kubectl_gt::exit::Exit;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("name the folder to write to")?);
    let pages = folder.join("man");
    std::fs::create_dir_all(&pages)?;
    let mut command = kubectl_gt::command_line();
    command.build();
    std::fs::write(folder.join("cli.md"), reference(&kubectl_gt::command_line()))?;
    write_pages(&command, &pages)
}

fn reference(command: &clap::Command) -> String {
    let options = clap_markdown::MarkdownOptions::new()
        .title("kubectl gt".to_owned())
        .show_footer(false)
        .show_table_of_contents(false);
    let body = clap_markdown::help_markdown_command_custom(command, &options);
    let mut text = String::from("<!-- Written by `cargo xtask generate`. -->\n\n");
    text.push_str(body.trim_end());
    text.push_str("\n\n## Exit codes\n\n| code | meaning |\n|---|---|\n");
    for exit in Exit::ALL {
        let _strings_take_everything = writeln!(text, "| {} | {} |", exit.code(), exit.meaning());
    }
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    format!("{}\n", lines.join("\n"))
}

/// One page for each command, as `man kubectl-gt-polecat-logs` finds it.
fn write_pages(command: &clap::Command, folder: &Path) -> Result<(), Box<dyn Error>> {
    let name = command
        .get_display_name()
        .unwrap_or(command.get_name())
        .to_owned();
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    std::fs::write(folder.join(format!("{name}.1")), page)?;
    for below in command
        .get_subcommands()
        .filter(|below| below.get_name() != "help" && !below.is_hide_set())
    {
        write_pages(below, folder)?;
    }
    Ok(())
}

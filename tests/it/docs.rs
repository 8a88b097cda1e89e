//! The documentation says what the code does: generated tables, links, and the words it tells people to type.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use switchhook::config::registry;
use switchhook::doctor;
use switchhook::seed::plan::{Owner, PLACES};
use switchhook::units::directives::{DIRECTIVES, Treatment};

use crate::appliance::BINARY;

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// README.md, CHANGELOG.md and every page below docs/, as paths below the repository.
fn pages() -> Vec<PathBuf> {
    let mut out = vec![PathBuf::from("README.md"), PathBuf::from("CHANGELOG.md")];
    let mut pending = vec![top().join("docs")];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                out.push(path.strip_prefix(top()).unwrap().to_owned());
            }
        }
    }
    out.sort();
    out
}

fn read(page: &Path) -> String {
    std::fs::read_to_string(top().join(page)).unwrap_or_else(|e| panic!("{}: {e}", page.display()))
}

// --- generated tables -----------------------------------------------------------------------------------------------

/// Compares what stands between the markers of `name` with `table`. UPDATE_DOCS=1 writes it there instead.
fn holds_table(page: &str, name: &str, table: &str) {
    let path = Path::new(page);
    let text = read(path);
    let open = format!("<!-- generated: {name} -->\n");
    let close = format!("<!-- end of {name} -->");
    let (before, rest) = text
        .split_once(&open)
        .unwrap_or_else(|| panic!("{page} has no line `{}`", open.trim_end()));
    let (found, after) = rest
        .split_once(&close)
        .unwrap_or_else(|| panic!("{page} has no line `{close}`"));
    if found == table {
        return;
    }
    if std::env::var_os("UPDATE_DOCS").is_some_and(|value| value == "1") {
        std::fs::write(
            top().join(path),
            format!("{before}{open}{table}{close}{after}"),
        )
        .unwrap();
        return;
    }
    panic!(
        "the table `{name}` of {page} is not what the code says; write it anew with\n\
         \n    UPDATE_DOCS=1 cargo test --test it docs\n\nand commit the page. The code says:\n{table}"
    );
}

#[test]
fn the_table_of_variables_is_the_registry() {
    holds_table(
        "docs/reference/environment.md",
        "variables",
        &registry::markdown(),
    );
}

#[test]
fn the_table_of_checks_is_the_doctors() {
    holds_table(
        "docs/reference/commands/doctor.md",
        "checks",
        &doctor::markdown(),
    );
}

#[test]
fn the_table_of_directives_is_the_parsers() {
    let mut table = String::from("| Section | Directive | Here | Why, or what to do |\n");
    table.push_str("| --- | --- | --- | --- |\n");
    for directive in DIRECTIVES {
        let (here, why) = match directive.treatment {
            Treatment::Honoured => ("honoured", ""),
            Treatment::Ignored(why) => ("ignored", why),
            Treatment::Refused(what) => ("**refused**", what),
        };
        table.push_str(&format!(
            "| {} | `{}` | {here} | {why} |\n",
            directive.section, directive.name
        ));
    }
    holds_table("docs/reference/units.md", "directives", &table);
}

#[test]
fn the_table_of_places_is_the_plans() {
    let mut table = String::from("| Place | Owner | Mode |\n| --- | --- | --- |\n");
    for place in PLACES {
        let owner = match place.owner {
            Owner::Root => "root",
            Owner::Asterisk => "asterisk",
            Owner::Log => "log",
            Owner::Autoban => "autoban",
            Owner::Websms => "websms",
        };
        table.push_str(&format!(
            "| `/srv/{}` | {owner} | {:04o} |\n",
            place.path, place.mode
        ));
    }
    holds_table("docs/reference/volume.md", "places", &table);
}

// --- commands and words ---------------------------------------------------------------------------------------------

/// What the binary prints for these words.
fn help(words: &[&str]) -> String {
    let out = Command::new(BINARY).args(words).output().unwrap();
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn every_command_has_its_page_with_its_usage_and_its_exit_codes() {
    let text = help(&["--help"]);
    let listed = text
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help");
    let commands: Vec<&str> = listed.chain(["logd"]).collect();
    let index = read(Path::new("docs/reference/commands.md"));
    for name in &commands {
        let has_heading = |line: &str| {
            line.starts_with("## ") && line.split([' ', ',']).any(|word| word == *name)
        };
        assert!(
            index.lines().any(has_heading) && index.contains(&format!("(commands/{name}.md)")),
            "docs/reference/commands.md has no heading that names `{name}`, or no link to its page"
        );
        // `sv` has no options of clap's; the short help of the others is their usage.
        let usage = match *name {
            "sv" => help(&["help", "sv"]),
            name => help(&[name, "-h"]),
        };
        assert!(usage.contains("Usage: switchhook"), "{name}: {usage}");
        let page = format!("docs/reference/commands/{name}.md");
        assert!(
            top().join(&page).exists(),
            "{page} is missing: a title, a sentence, the lines `<!-- generated: usage -->` and `<!-- end of usage -->`"
        );
        let lines: Vec<&str> = usage.trim().lines().map(str::trim_end).collect();
        let block = format!("```\n{}\n```\n", lines.join("\n"));
        holds_table(&page, "usage", &block);
        let text = read(Path::new(&page));
        let says = |words: &str| text.to_lowercase().contains(words);
        assert!(
            says("exit code") || says("[switchhook phone]"),
            "{page} does not say how the command ends"
        );
    }
    assert!(
        commands.len() >= 16,
        "`switchhook --help` was not understood: {text}"
    );
}

/// The pieces of a page that are code: fenced blocks and what stands between backticks.
fn code(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            // A comment at the end of a shell line is prose.
            out.push(line.split(" #").next().unwrap_or(line).to_owned());
        } else {
            out.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    out
}

/// Words given to `make` where a command may stand; variables and options are skipped, another Makefile's words too.
fn words_of_make(code: &str) -> Vec<String> {
    let mut out = Vec::new();
    for command in code.split(['&', ';', '|']) {
        let mut tokens = command.split_whitespace();
        if tokens.next() != Some("make") {
            continue;
        }
        let words: Vec<&str> = tokens.collect();
        if words.contains(&"-C") {
            continue;
        }
        let is_word = |word: &&&str| {
            !word.starts_with('-')
                && word
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        };
        out.extend(words.iter().filter(is_word).map(|word| (*word).to_owned()));
    }
    out
}

#[test]
fn every_word_of_make_exists() {
    let makefile = read(Path::new("Makefile"));
    let variable = |name: &str| -> Vec<String> {
        makefile
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(":="))
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    };
    let mut known: BTreeSet<String> = makefile
        .lines()
        .filter(|line| !line.starts_with(['\t', '#', '.']))
        .filter_map(|line| line.split_once(':').filter(|(_, v)| !v.starts_with('=')))
        .flat_map(|(names, _)| names.split_whitespace())
        .map(str::to_owned)
        .collect();
    known.extend(
        variable("TARGETS")
            .into_iter()
            .map(|target| format!("image-{target}")),
    );
    known.extend(variable("DEMO"));
    let is_bench = |word: &str| {
        word.strip_prefix("bench-")
            .is_some_and(|name| top().join("bench").join(name).is_file())
    };
    let mut found = 0;
    for page in pages() {
        for word in code(&read(&page))
            .iter()
            .flat_map(|piece| words_of_make(piece))
        {
            found += 1;
            assert!(
                known.contains(&word) || is_bench(&word),
                "{} tells people to type `make {word}`, which the Makefile does not know",
                page.display()
            );
        }
    }
    assert!(found > 10, "the pages were not understood");
}

// --- links ----------------------------------------------------------------------------------------------------------

/// Targets of `[text](target)` outside of code.
fn links(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // Every second piece between backticks is code; a link whose text is code is kept in one piece by its `](`.
        let prose: String = line
            .split('`')
            .enumerate()
            .map(|(index, piece)| if index % 2 == 0 { piece } else { "x" })
            .collect();
        let mut rest = prose.as_str();
        while let Some((_, after)) = rest.split_once("](") {
            let (target, tail) = after.split_once(')').unwrap_or((after, ""));
            out.push(target.to_owned());
            rest = tail;
        }
    }
    out
}

/// The anchors that a page's headings get: lower case, spaces to dashes, other signs dropped.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut fenced = false;
    text.lines()
        .filter(|line| {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
            }
            !fenced && line.starts_with('#')
        })
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter_map(|c| match c {
                    ' ' => Some('-'),
                    c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
                    _ => None,
                })
                .collect()
        })
        .collect()
}

/// `docs/how-to/../reference/x.md` as `docs/reference/x.md`.
fn flatten(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            part => out.push(part),
        }
    }
    out
}

#[test]
fn every_link_leads_somewhere() {
    let mut found = 0;
    for page in pages() {
        let text = read(&page);
        for link in links(&text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            found += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() {
                page.clone()
            } else {
                flatten(&page.parent().unwrap_or(Path::new("")).join(file))
            };
            assert!(
                top().join(&target).exists(),
                "{} links to {link}, and there is no {}",
                page.display(),
                target.display()
            );
            assert!(
                anchor.is_empty() || anchors(&read(&target)).contains(anchor),
                "{} links to {link}, and {} has no such heading",
                page.display(),
                target.display()
            );
        }
    }
    assert!(found > 20, "the pages were not understood");
}

#[test]
fn the_index_names_every_page() {
    let index = read(Path::new("docs/README.md"));
    let named: BTreeSet<PathBuf> = links(&index)
        .iter()
        .map(|link| flatten(&Path::new("docs").join(link.split('#').next().unwrap_or(link))))
        .collect();
    for page in pages() {
        let is_below_docs = page.starts_with("docs") && page != Path::new("docs/README.md");
        assert!(
            !is_below_docs || named.contains(&page),
            "docs/README.md does not name {}",
            page.display()
        );
    }
}

//! Hooks of the volume: their order, and the variables that they pass on.

use crate::docker::Volume;
use crate::exchange::Recipe;

#[test]
fn hooks_run_in_order_and_pass_variables_on_to_units() {
    let volume = Volume::new();
    let hook =
        |path: &str, script: &str| volume.write(path, "755", &format!("#!/bin/sh\n{script}"));
    // A directory of the volume stands for the image's own hooks, which come first whatever their names are.
    hook("/srv/first.d/90-image", "echo entry: image");
    hook(
        "/srv/etc/entry.d/10-give",
        "echo entry: give\necho 'GREETING=good  day' >>\"$SWITCHHOOK_HOOK_ENV\"",
    );
    hook("/srv/etc/entry.d/20-see", "echo \"entry: see $GREETING\"");
    volume.write(
        "/srv/etc/entry.d/30-no-run-bit",
        "644",
        "#!/bin/sh\necho entry: never",
    );
    hook("/srv/last.d/90-image", "echo exit: image");
    hook("/srv/etc/exit.d/20-second", "echo exit: second");
    hook("/srv/etc/exit.d/10-first", "echo exit: first");
    hook("/srv/etc/greet", "echo \"unit: $GREETING\"");
    let unit = "[Service]\nType=oneshot\nExecStart=/srv/etc/greet";
    volume.write("/srv/etc/units/greeter.service", "644", unit);
    let exchange = Recipe::of("mini")
        .volume(&volume)
        .variable("DOCKER_ENTRY_DIR", "/srv/first.d")
        .variable("DOCKER_EXIT_DIR", "/srv/last.d")
        .start();
    exchange.log.wait_for("unit: good  day");
    exchange
        .log
        .wait_for("30-no-run-bit` is skipped: it has no run bit");
    assert_eq!(exchange.stop(), 0);
    exchange.log.wait_end();
    let log = exchange.log.all();
    let told: Vec<&str> = log
        .iter()
        .filter_map(|line| line.strip_prefix("notice hook: "))
        .collect();
    let wanted = [
        "entry: image",
        "entry: give",
        "entry: see good  day",
        "exit: image",
        "exit: first",
        "exit: second",
    ];
    assert_eq!(told, wanted);
    // Exit hooks still find the PBX running.
    let at = |text: &str| log.iter().position(|line| line.contains(text)).unwrap();
    assert!(at("exit: second") < at("stop: stopping"));
}

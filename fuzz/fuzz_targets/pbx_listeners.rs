//! Whatever stands in the PBX's configuration, every unit that is made from it can be read and means the same socket.
#![no_main]

use libfuzzer_sys::fuzz_target;
use switchhook::asterisk::listeners::{Texts, World, plan, unit_text};
use switchhook::config::pbx::Pbx;
use switchhook::units::socket_file;
use switchhook::units::unit_file::Source;

fuzz_target!(|texts: (&str, &str, &str)| {
    let (main, manager, http) = texts;
    let given = Texts {
        main: Some(main.to_owned()),
        manager: Some(manager.to_owned()),
        http: Some(http.to_owned()),
    };
    let world = World {
        hosts: &|_| vec![std::net::Ipv4Addr::LOCALHOST.into()],
        has_certificate: &|_, _| true,
    };
    for socket in plan(Pbx::Asterisk, &given, &world).sockets {
        let text = unit_text(&socket, Pbx::Asterisk, Some("asterisk"));
        let file = "x.socket".to_owned();
        let (spec, findings) = socket_file::read("x", &[Source { file, text }]);
        assert!(findings.is_empty(), "{findings:?}");
        assert_eq!(spec.map(|spec| spec.listeners), Some(vec![socket.listen]));
    }
});

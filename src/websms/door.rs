//! Which interface a request is for: both its sender's address and its path must be those of the interface.
//!
//! Pure. It refuses at start two interfaces that one request could mean equally, and later a request that means none. Who
//! comes from an address that no interface has hears nothing of the paths that there are.
//!
//! Invariant: a request has at most one door. A path with a query counts more than one without, and that more than none; a
//! longer network counts more than a shorter.

use std::net::IpAddr;

use crate::autoban::cidr::Cidr;

use super::request::Request;

/// Where an interface takes requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    /// The interface, as websms.conf names it.
    pub interface: String,
    /// From where; `None` is from everywhere. An empty list is from nowhere.
    pub addresses: Option<Vec<Cidr>>,
    /// One without a query is met with any; one with a query, as the predecessor compared it, with just that. None is any.
    pub paths: Vec<String>,
}

/// All doors of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Doors(Vec<Door>);

/// Two interfaces that a request could mean equally.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the interfaces {first} and {second} both take {path} from {address}; hint: give each a path of its own"
)]
pub struct Twice {
    first: String,
    second: String,
    path: String,
    address: String,
}

/// A request that no interface takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    #[error("no interface takes requests from {0}")]
    Address(IpAddr),
    #[error("no interface takes requests from {address} at `{path}`")]
    Path { address: IpAddr, path: String },
}

impl Closed {
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Closed::Address(_) => 403,
            Closed::Path { .. } => 404,
        }
    }
}

impl Doors {
    /// Doors of which no two are equal for any request.
    pub fn new(doors: Vec<Door>) -> Result<Doors, Vec<Twice>> {
        let mut mistakes = Vec::new();
        for (at, first) in doors.iter().enumerate() {
            for second in doors.iter().skip(at + 1) {
                mistakes.extend(first.equals(second));
            }
        }
        match mistakes.is_empty() {
            true => Ok(Doors(doors)),
            false => Err(mistakes),
        }
    }

    /// The door of a request from this address.
    pub fn find(&self, address: IpAddr, request: &Request<'_>) -> Result<&Door, Closed> {
        let address = address.to_canonical();
        let from_there: Vec<(u16, &Door)> = self
            .0
            .iter()
            .filter_map(|door| Some((door.length(address)?, door)))
            .collect();
        if from_there.is_empty() {
            return Err(Closed::Address(address));
        }
        from_there
            .into_iter()
            .filter_map(|(length, door)| Some((door.takes(request)?, length, door)))
            .max_by_key(|(way, length, _)| (*way, *length))
            .map(|(_, _, door)| door)
            .ok_or_else(|| Closed::Path {
                address,
                path: request
                    .path()
                    .chars()
                    .take(256)
                    .flat_map(char::escape_debug)
                    .collect(),
            })
    }
}

impl Door {
    /// How narrowly it names this path: 0 for any, 1 for the path, 2 for path and query.
    fn takes(&self, request: &Request<'_>) -> Option<u8> {
        if self.paths.is_empty() {
            return Some(0);
        }
        let takes = |own: &String| match own.contains('?') {
            true => (own == request.target).then_some(2),
            false => (own == request.path()).then_some(1),
        };
        self.paths.iter().filter_map(takes).max()
    }

    /// How narrowly it names this address: 0 for everywhere, one more than a network's bits else.
    fn length(&self, address: IpAddr) -> Option<u16> {
        match &self.addresses {
            None => Some(0),
            Some(list) => list
                .iter()
                .filter(|cidr| cidr.contains(address))
                .map(|cidr| u16::from(cidr.length()) + 1)
                .max(),
        }
    }

    fn equals(&self, other: &Door) -> Option<Twice> {
        let path = match (self.paths.is_empty(), other.paths.is_empty()) {
            (true, true) => "any path".to_owned(),
            _ => self
                .paths
                .iter()
                .find(|path| other.paths.contains(path))?
                .clone(),
        };
        let address = match (&self.addresses, &other.addresses) {
            (None, None) => "everywhere".to_owned(),
            (Some(ours), Some(theirs)) => {
                ours.iter().find(|cidr| theirs.contains(cidr))?.to_string()
            }
            _ => return None,
        };
        Some(Twice {
            first: self.interface.clone(),
            second: other.interface.clone(),
            path,
            address,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn door(interface: &str, addresses: Option<&[&str]>, paths: &[&str]) -> Door {
        Door {
            interface: interface.to_owned(),
            addresses: addresses
                .map(|list| list.iter().map(|cidr| cidr.parse().unwrap()).collect()),
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        }
    }

    fn found(doors: &[Door], address: &str, target: &str) -> Result<String, u16> {
        let request = Request {
            method: "POST",
            target,
            headers: &[],
            body: b"",
        };
        Doors::new(doors.to_vec())
            .unwrap()
            .find(address.parse().unwrap(), &request)
            .map(|door| door.interface.clone())
            .map_err(|closed| closed.status())
    }

    #[test]
    fn address_and_path_must_both_be_the_interfaces() {
        let doors = [
            door("a", Some(&["192.0.2.0/24"]), &["/a", "/a2"]),
            door("b", Some(&["192.0.2.0/24", "2001:db8::/32"]), &["/b"]),
        ];
        // Two interfaces behind one address both work.
        assert_eq!(found(&doors, "192.0.2.7", "/a").unwrap(), "a");
        assert_eq!(found(&doors, "192.0.2.7", "/a2?x=1").unwrap(), "a");
        assert_eq!(found(&doors, "192.0.2.7", "/b").unwrap(), "b");
        assert_eq!(found(&doors, "::ffff:192.0.2.7", "/b").unwrap(), "b");
        assert_eq!(found(&doors, "2001:db8::1", "/a"), Err(404));
        assert_eq!(found(&doors, "192.0.2.7", "/a/"), Err(404));
        assert_eq!(found(&doors, "198.51.100.1", "/a"), Err(403));
        assert_eq!(found(&doors, "2001:db9::1", "/b"), Err(403));
        assert_eq!(found(&[], "192.0.2.7", "/a"), Err(403));
        let nowhere = [door("n", Some(&[]), &[])];
        assert_eq!(found(&nowhere, "192.0.2.7", "/"), Err(403));
    }

    #[test]
    fn the_narrower_door_counts() {
        let doors = [
            door("any", None, &[]),
            door("net", Some(&["192.0.2.0/24"]), &[]),
            door("host", Some(&["192.0.2.7"]), &[]),
            door("path", None, &["/p"]),
            door("query", None, &["/p?key=1"]),
        ];
        assert_eq!(found(&doors, "198.51.100.1", "/").unwrap(), "any");
        assert_eq!(found(&doors, "192.0.2.8", "/").unwrap(), "net");
        assert_eq!(found(&doors, "192.0.2.7", "/").unwrap(), "host");
        assert_eq!(found(&doors, "192.0.2.7", "/p").unwrap(), "path");
        assert_eq!(found(&doors, "192.0.2.7", "/p?key=2").unwrap(), "path");
        assert_eq!(found(&doors, "192.0.2.7", "/p?key=1").unwrap(), "query");
    }

    #[test]
    fn two_equal_doors_are_a_mistake() {
        let told =
            |a: Door, b: Door| Doors::new(vec![a, b]).map_err(|m| m.first().unwrap().to_string());
        let equal = told(
            door("1", Some(&["192.0.2.0/24"]), &["/a", "/b"]),
            door("2", Some(&["192.0.2.9/24"]), &["/b"]),
        );
        assert_eq!(
            equal.unwrap_err(),
            "the interfaces 1 and 2 both take /b from 192.0.2.0/24; hint: give each a path of its own"
        );
        assert!(told(door("1", None, &[]), door("2", None, &[])).is_err());
        assert!(told(door("1", None, &["/a"]), door("2", None, &[])).is_ok());
        assert!(
            told(
                door("1", None, &["/a"]),
                door("2", Some(&["::/0"]), &["/a"])
            )
            .is_ok()
        );
    }

    #[test]
    fn a_path_in_the_log_is_one_line() {
        let request = Request {
            method: "POST",
            target: "/a\r\nforged",
            headers: &[],
            body: b"",
        };
        let doors = Doors::new(vec![door("a", None, &["/b"])]).unwrap();
        let closed = doors
            .find("192.0.2.7".parse().unwrap(), &request)
            .unwrap_err();
        assert_eq!(
            closed.to_string(),
            "no interface takes requests from 192.0.2.7 at `/a\\r\\nforged`"
        );
    }

    fn a_door() -> impl Strategy<Value = Door> {
        let cidr = prop::sample::select(vec![
            "::/0",
            "10.0.0.0/8",
            "10.0.0.0/9",
            "10.0.0.1",
            "0.0.0.0/0",
        ]);
        let path = prop::sample::select(vec!["/a", "/b"]);
        (
            prop::option::of(prop::collection::vec(cidr, 0..3)),
            prop::collection::vec(path, 0..3),
        )
            .prop_map(|(addresses, paths)| door("x", addresses.as_deref(), &paths))
    }

    proptest! {
        #[test]
        fn which_door_is_open_does_not_hang_on_their_order(mut list in prop::collection::vec(a_door(), 0..5)) {
            for (at, door) in list.iter_mut().enumerate() {
                door.interface = at.to_string();
            }
            prop_assume!(Doors::new(list.clone()).is_ok());
            let mut reversed = list.clone();
            reversed.reverse();
            for address in ["10.0.0.1", "10.0.0.2", "10.200.0.1", "11.0.0.1", "::1"] {
                for path in ["/a", "/b", "/c"] {
                    prop_assert_eq!(found(&list, address, path), found(&reversed, address, path));
                }
            }
        }
    }
}

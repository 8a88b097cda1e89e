//! The order in which services start, and its reverse for the stop.
//!
//! Pure. Invariant: a service comes after everything that it names in `After=` or `Requires=`.

use crate::units::spec::ServiceSpec;

/// Services that wait for each other in a ring, in ring order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("services wait for each other in a ring: {}", .0.join(" -> "))]
pub struct Cycle(pub Vec<String>);

/// The indices of `services` in start order. Names that are not in the set are ignored.
pub fn start_order(services: &[ServiceSpec]) -> Result<Vec<usize>, Cycle> {
    let mut order = Vec::with_capacity(services.len());
    let mut marks = vec![Mark::New; services.len()];
    let mut path = Vec::new();
    for index in 0..services.len() {
        visit(index, services, &mut marks, &mut path, &mut order)?;
    }
    Ok(order)
}

/// Indices of the services that `service` waits for.
pub fn waits_for(services: &[ServiceSpec], service: &ServiceSpec) -> Vec<usize> {
    services
        .iter()
        .enumerate()
        .filter(|(_, other)| {
            service.after.contains(&other.name) || service.requires.contains(&other.name)
        })
        .filter(|(_, other)| other.name != service.name)
        .map(|(index, _)| index)
        .collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    OnPath,
    Done,
}

fn visit(
    index: usize,
    services: &[ServiceSpec],
    marks: &mut [Mark],
    path: &mut Vec<usize>,
    order: &mut Vec<usize>,
) -> Result<(), Cycle> {
    let (Some(mark), Some(service)) = (marks.get_mut(index), services.get(index)) else {
        return Ok(());
    };
    match *mark {
        Mark::Done => return Ok(()),
        Mark::OnPath => {
            let name = |i: &usize| services.get(*i).map(|s| s.name.clone()).unwrap_or_default();
            let ring = path.iter().skip_while(|i| **i != index).map(name);
            return Err(Cycle(ring.chain([service.name.clone()]).collect()));
        }
        Mark::New => *mark = Mark::OnPath,
    }
    path.push(index);
    for other in waits_for(services, service) {
        visit(other, services, marks, path, order)?;
    }
    path.pop();
    if let Some(mark) = marks.get_mut(index) {
        *mark = Mark::Done;
    }
    order.push(index);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{service_file, unit_file::Source};

    fn service(name: &str, after: &str) -> ServiceSpec {
        let text = format!("[Unit]\nAfter={after}\n[Service]\nExecStart=/bin/a\n");
        service_file::read(
            name,
            &[Source {
                file: name.into(),
                text,
            }],
        )
        .0
        .unwrap()
    }

    #[test]
    fn everything_comes_after_what_it_waits_for() {
        let set = [service("c", "b"), service("a", ""), service("b", "a ghost")];
        assert_eq!(start_order(&set), Ok(vec![1, 2, 0]));
    }

    #[test]
    fn a_ring_is_named() {
        let set = [service("a", "c"), service("b", "a"), service("c", "b")];
        let text = start_order(&set).unwrap_err().to_string();
        assert_eq!(
            text,
            "services wait for each other in a ring: a -> c -> b -> a"
        );
    }
}

use super::*;

fn gateway(incarnation: &str) -> Gateway {
    Gateway {
        incarnation: incarnation.to_owned(),
        endpoint: String::new(),
    }
}

/// Of this id, until so many seconds of the clock.
fn lease(id: u64, until_s: u64) -> Lease {
    Lease {
        id,
        until: Duration::from_secs(until_s),
    }
}

fn connection(user: &str, device: &str, connection_id: u64) -> Connection {
    let device = DeviceKey {
        tenant: "default".to_owned(),
        user: user.to_owned(),
        device: device.to_owned(),
    };
    Connection {
        device,
        platform: "test".to_owned(),
        connection_id,
        connected_ms: 0,
        again: false,
    }
}

#[test]
fn registering_a_device_again_names_the_connection_that_it_displaces() {
    let mut table = PresenceTable::default();
    let stands = Registered::Stands { displaced: None };
    assert_eq!(
        table.register(
            &gateway("g1"),
            connection("a", "phone", 1),
            10,
            lease(1, 100)
        ),
        stands
    );
    assert_eq!(
        table.register(
            &gateway("g1"),
            connection("a", "phone", 1),
            10,
            lease(1, 100)
        ),
        stands,
        "again"
    );
    let Registered::Stands {
        displaced: Some(displaced),
    } = table.register(
        &gateway("g2"),
        connection("a", "phone", 2),
        10,
        lease(1, 100),
    )
    else {
        panic!("nothing was displaced");
    };
    assert_eq!(
        (
            displaced.gateway.incarnation.as_str(),
            displaced.connection_id
        ),
        ("g1", 1)
    );
    assert_eq!(table.len(), 1);
}

#[test]
fn unregistering_removes_only_the_connection_that_stands() {
    let mut table = PresenceTable::default();
    table.register(
        &gateway("g1"),
        connection("a", "phone", 1),
        10,
        lease(1, 100),
    );
    table.register(
        &gateway("g1"),
        connection("a", "phone", 2),
        10,
        lease(1, 100),
    );
    let device = connection("a", "phone", 1).device;
    assert!(
        !table.unregister("g1", &device, 1),
        "the displaced one's goodbye"
    );
    assert_eq!(table.connections("default", "a").len(), 1);
    assert!(table.unregister("g1", &device, 2));
    assert!(table.is_empty());
    assert_eq!(table.connections("default", "a"), []);
}

#[test]
fn a_lease_that_is_not_renewed_takes_its_connections_with_it() {
    let mut table = PresenceTable::default();
    let at = Duration::from_secs;
    table.register(
        &gateway("g1"),
        connection("a", "phone", 1),
        10,
        lease(1, 100),
    );
    table.register(
        &gateway("g2"),
        connection("a", "desk", 1),
        10,
        lease(2, 300),
    );
    table.renew(&gateway("g1"), lease(3, 200));
    assert!(table.expire(at(199)).is_empty());
    assert_eq!(table.next_expiry(), Some(at(200)));
    assert_eq!(table.expire(at(200)), [connection("a", "phone", 1).device]);
    assert_eq!(table.connections("default", "a").len(), 1);
}

#[test]
fn a_gateway_keeps_the_lease_on_which_it_began_to_be_held() {
    let mut table = PresenceTable::default();
    assert_eq!(table.renew(&gateway("g1"), lease(1, 100)), 1);
    table.register(
        &gateway("g2"),
        connection("a", "desk", 1),
        10,
        lease(2, 100),
    );
    assert_eq!(table.renew(&gateway("g1"), lease(3, 100)), 1);
    assert_eq!(
        table.renew(&gateway("g2"), lease(4, 100)),
        2,
        "by a registration"
    );
    table.expire(Duration::from_secs(100));
    assert_eq!(table.renew(&gateway("g1"), lease(5, 200)), 5);
    assert_eq!(table.renew(&gateway("g2"), lease(6, 200)), 6);
}

#[test]
fn of_one_gateway_s_connections_the_higher_id_is_the_later() {
    let mut table = PresenceTable::default();
    for again in [false, true] {
        let of_id = |connection_id| Connection {
            again,
            ..connection("a", "phone", connection_id)
        };
        table.register(&gateway("g1"), of_id(1), 10, lease(1, 100));
        assert!(matches!(
            table.register(&gateway("g1"), of_id(2), 10, lease(1, 100)),
            Registered::Stands { displaced: Some(_) }
        ));
        assert_eq!(
            table.register(&gateway("g1"), of_id(1), 10, lease(1, 100)),
            Registered::Outdated
        );
        assert_eq!(table.connections("default", "a")[0].connection_id, 2);
        table.unregister("g1", &of_id(2).device, 2);
    }
}

#[test]
fn of_two_gateways_whoever_connects_displaces_and_whoever_stood_before_yields() {
    let mut table = PresenceTable::default();
    let again = |connection_id| Connection {
        again: true,
        ..connection("a", "phone", connection_id)
    };
    table.register(&gateway("g1"), again(9), 10, lease(1, 100));
    assert_eq!(
        table.register(&gateway("g2"), again(1), 10, lease(2, 100)),
        Registered::Yields
    );
    assert_eq!(table.connections("default", "a")[0].connection_id, 9);
    assert!(matches!(
        table.register(
            &gateway("g2"),
            connection("a", "phone", 2),
            10,
            lease(2, 100)
        ),
        Registered::Stands { displaced: Some(_) }
    ));
    assert_eq!(
        table.register(&gateway("g1"), again(9), 10, lease(1, 100)),
        Registered::Yields
    );
    assert_eq!(table.connections("default", "a")[0].connection_id, 2);
}

#[test]
fn a_user_has_only_so_many_devices_connected() {
    let mut table = PresenceTable::default();
    table.register(&gateway("g1"), connection("a", "1", 1), 2, lease(1, 100));
    table.register(&gateway("g1"), connection("a", "2", 2), 2, lease(1, 100));
    assert_eq!(
        table.register(&gateway("g1"), connection("a", "3", 3), 2, lease(1, 100)),
        Registered::TooManyDevices
    );
    assert!(matches!(
        table.register(&gateway("g1"), connection("a", "2", 4), 2, lease(1, 100)),
        Registered::Stands { displaced: Some(_) }
    ));
    assert!(
        table.connections("other", "a").is_empty(),
        "a user of the same name in another tenant"
    );
}

//! User structs are rows: as keys, as values, and the same in every sink.

use watershed::connect::memory::{MemoryLog, MemoryTable};
use watershed::connectors::delta::{Delta, Table};
use watershed::prelude::*;
use watershed::row::ColumnType;
use watershed::serdes::Word;

row! {
    /// A field of each type.
    struct Order {
        count: i64,
        year: Option<i32>,
        paid: bool,
        gift: Option<bool>,
        price: Double,
        discount: Option<Double>,
        note: String,
        country: Option<Word>,
        at: Timestamp,
        bytes: Vec<u8>,
    }
}

row! {
    #[derive(Copy)]
    struct Place { shop: i64, r#type: bool }
}

/// Three orders: ordinary values, nulls only, and numbers at the limits.
fn orders() -> [Order; 3] {
    let order = Order {
        count: 7,
        year: Some(2026),
        paid: true,
        gift: Some(false),
        price: 2.5.into(),
        discount: Some(0.1.into()),
        note: "Grüße".into(),
        country: Some(Word::from("Chile")),
        at: Timestamp(1_598_586_767_123_456),
        bytes: vec![0, 255],
    };
    let (year, gift, discount, country) = (None, None, None, None);
    let nulls = Order { count: 8, year, paid: false, gift, discount, country, ..order.clone() };
    let (price, discount) = (f64::NEG_INFINITY.into(), Some(Double::from(f64::MIN_POSITIVE)));
    let odd = Order { count: i64::MIN, price, discount, ..order.clone() };
    [order, nulls, odd]
}

fn log(orders: &[Order]) -> MemoryLog {
    let log = MemoryLog::default();
    for (id, order) in orders.iter().enumerate() {
        let value = serde_json::to_vec(order).unwrap();
        log.append(0, Some(id.to_string().as_bytes()), Some(&value));
    }
    log
}

/// Writes the orders to memory, and the orders at half their prices to memory and to Delta.
fn copies(builder: &StreamsBuilder<'_>) {
    let orders = builder.table::<i64, Order>("order", Consumed::with(Json, Json));
    let columns = || Produced::columns(["id"]).and(Order::COLUMNS);
    orders.map_values(Order::clone).to("memory", columns());
    // An infinite price becomes NaN; JSON can represent neither.
    let divided = orders.map_values(|order: &Order| {
        let price = if order.count == i64::MIN { f64::NEG_INFINITY } else { order.price.get() };
        Order { price: (price - price * 0.5).into(), ..order.clone() }
    });
    divided.to("divided", columns());
    divided.to("delta", columns());
}

#[test]
fn a_struct_is_the_same_row_in_memory_and_in_delta() {
    let folder = tempfile::tempdir().unwrap();
    let url = |name: &str| folder.path().join(name).display().to_string();
    // JSON can't represent the infinite price, so the input has a finite one.
    let finite = orders().map(|o| Order { price: o.price.min(1e9.into()).max(0.0.into()), ..o });
    let log = log(&finite);
    let (memory, divided) = (MemoryTable::default(), MemoryTable::default());
    for round in 0..2 {
        let streams = Streams::new(Topology::new("copies", copies))
            .source("order", log.clone())
            .sink("memory", memory.clone())
            .sink("divided", divided.clone())
            .sink("delta", Delta::table(&url("lake")).unwrap());
        let state = Some(Store::open(&url("state")).unwrap());
        let summary = streams.run(Config { workers: 2, state, ..Config::default() }).unwrap();
        assert_eq!(summary.topics["order"].rows, 3, "round {round}");
    }
    assert_eq!(memory.rows().len(), 3);
    for (row, order) in memory.rows().iter().zip(&finite) {
        let mut values: Vec<Value> = Vec::new();
        order.put(&mut values);
        assert_eq!(row[1..], values);
    }
    let mut found = Vec::new();
    let table = Table::open(&url("lake")).unwrap();
    table
        .for_each(&mut |row| {
            found.push(row.to_vec());
            Ok(())
        })
        .unwrap();
    found.sort();
    assert_eq!(found, divided.rows());
    assert_eq!(found[2][5], Value::Double(f64::NAN));

    let types = Order::columns().into_iter().chain([(ColumnType::Long, false)]);
    let mut written: Vec<_> = table.columns().iter().map(|c| (c.ty, c.nullable)).collect();
    written.rotate_left(1);
    assert!(types.eq(written));
    let version =
        std::fs::read_to_string(folder.path().join("lake/_delta_log/00000000000000000000.json"));
    let schema = version.unwrap().replace('\\', "");
    assert!(
        schema.contains(r#""name":"paid","type":"boolean","nullable":false"#)
            || schema.contains(r#""name":"paid","nullable":false,"type":"boolean""#),
        "{schema}"
    );
    assert!(schema.contains(r#""type":"double""#), "{schema}");
}

#[test]
fn a_struct_is_a_key_and_names_its_columns() {
    assert_eq!(Place::COLUMNS, ["shop", "type"]);
    let topology = Topology::new("places", |builder: &StreamsBuilder<'_>| {
        let orders = builder.stream::<i64, Order>("order", Consumed::with(Json, Json));
        let places = orders
            .group_by(|shop, order| (Place { shop: *shop % 2, r#type: order.paid }, order.price));
        let columns = || Produced::columns(Place::COLUMNS);
        places.count().to("count", columns().and(["count"]));
        places.max().to("dearest", columns().and(["price"]));
    });
    let mut driver = TopologyTestDriver::with_workers(topology, 2).unwrap();
    let input = driver.input("order", Json, Json);
    for (shop, order) in orders().iter().take(2).enumerate() {
        input.pipe(&mut driver, &shop, order);
        input.pipe(&mut driver, &(shop + 2), order);
    }
    driver.commit().unwrap();
    let counts = driver.output::<Place, i64>("count").rows(&driver).unwrap();
    let [paid, open] = [(0, true), (1, false)].map(|(shop, r#type)| Place { shop, r#type });
    assert_eq!(counts, [(paid, 2), (open, 2)]);
    let dearest = driver.output::<Place, Double>("dearest").rows(&driver).unwrap();
    assert_eq!(dearest, [(paid, 2.5.into()), (open, 2.5.into())]);
}

//! A join by a foreign key: each album refers to an artist, and one correction moves every album.
//!
//! `cargo run --example foreign_key_join` joins albums with their artists. No album is touched when
//! an artist's name is corrected, yet both albums follow. An album without a known artist stays in
//! the table, and so does an artist without an album.
//!
//! ```text
//! album 1: Blue Train by Jon Coltrane
//! album 2: Giant Steps by Jon Coltrane
//! album 3: Kind of Blue by someone unknown
//! the name of artist 7 is corrected, and artist 8 appears
//! album 1: Blue Train by John Coltrane
//! album 2: Giant Steps by John Coltrane
//! album 3: Kind of Blue by someone unknown
//! artist 8: no album by Nina Simone
//! ```

use watershed::prelude::*;

/// Title and artist of an album.
type Album = (String, i64);

fn topology(builder: &StreamsBuilder<'_>) {
    let albums = builder.table::<i64, Album>("albums", Consumed::with(Int64, Json));
    let artists = builder.table("artists", Consumed::with(Int64, Utf8));
    albums
        .outer_join_on(
            &artists,
            |_number, (_title, artist)| *artist,
            |album, name: Option<&String>| {
                let title = album.map_or("no album", |(title, _)| title);
                format!("{title} by {}", name.map_or("someone unknown", |name| name))
            },
        )
        .materialize(Materialized::named("catalogue"));
}

fn main() -> Result<()> {
    let mut driver = TopologyTestDriver::new(Topology::new("foreign key join", topology))?;
    let albums = driver.input("albums", Int64, Json);
    let artists = driver.input("artists", Int64, Utf8);
    let catalogue: ReadOnlyStore<OuterKey<i64, i64>, String> = driver.store("catalogue")?;
    let print = || {
        for album in 1..=3 {
            if let Some(text) = catalogue.get(&OuterKey::Left(album)) {
                println!("album {album}: {text}");
            }
        }
        if let Some(text) = catalogue.get(&OuterKey::Right(8)) {
            println!("artist 8: {text}");
        }
    };

    for (number, title, artist) in
        [(1, "Blue Train", 7), (2, "Giant Steps", 7), (3, "Kind of Blue", 9)]
    {
        albums.pipe(&mut driver, &number, &(title.to_string(), artist));
    }
    artists.pipe(&mut driver, &7, &"Jon Coltrane".to_string());
    driver.commit()?;
    print();

    println!("the name of artist 7 is corrected, and artist 8 appears");
    artists.pipe(&mut driver, &7, &"John Coltrane".to_string());
    artists.pipe(&mut driver, &8, &"Nina Simone".to_string());
    driver.commit()?;
    print();
    Ok(())
}

//! Several streams in one aggregate: the profile of a user from views, carts and purchases.
//!
//! `cargo run --example cogroup` folds three topics with different values into one row of each
//! user. Each topic has a closure of its own. No join is needed, and a user who is in one topic
//! alone has a row too.
//!
//! ```text
//! ada: views 3, items in the cart 1, cents spent 250
//! bob: views 1, items in the cart 0, cents spent 0
//! ```

use watershed::prelude::*;

row! {
    /// The sums of a user.
    #[derive(Default)]
    struct Profile {
        views: i64,
        items: i64,
        cents: i64,
    }
}

fn topology(builder: &StreamsBuilder<'_>) {
    let views = builder.stream("views", Consumed::with(Utf8, Utf8));
    let carts = builder.stream("carts", Consumed::with(Utf8, Int64));
    let purchases = builder.stream("purchases", Consumed::with(Utf8, Int64));
    views
        .group_by_key()
        .cogroup(|all: Profile, _page| Profile { views: all.views + 1, ..all })
        .cogroup(&carts.group_by_key(), |all, items| Profile { items: all.items + items, ..all })
        .cogroup(&purchases.group_by_key(), |all, cents| Profile {
            items: 0,
            cents: all.cents + cents,
            ..all
        })
        .aggregate(Profile::default)
        .to("profiles", Produced::columns(["user"]).and(Profile::COLUMNS));
}

fn main() -> Result<()> {
    let mut driver = TopologyTestDriver::new(Topology::new("profiles", topology))?;
    let views = driver.input("views", Utf8, Utf8);
    let carts = driver.input("carts", Utf8, Int64);
    let purchases = driver.input("purchases", Utf8, Int64);
    let profiles = driver.output::<String, Profile>("profiles");
    let [ada, bob] = ["ada", "bob"].map(str::to_string);

    for (user, page) in [(&ada, "/home"), (&ada, "/lamps"), (&bob, "/home"), (&ada, "/cart")] {
        views.pipe(&mut driver, user, &page.to_string());
    }
    carts.pipe(&mut driver, &ada, &2);
    driver.commit()?;
    // Values are taken in order: the purchase empties the cart, which is filled again later.
    purchases.pipe(&mut driver, &ada, &250);
    driver.commit()?;
    carts.pipe(&mut driver, &ada, &1);
    driver.commit()?;

    for (user, Profile { views, items, cents }) in profiles.rows(&driver)? {
        println!("{user}: views {views}, items in the cart {items}, cents spent {cents}");
    }
    Ok(())
}

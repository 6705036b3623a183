//! [`row!`](crate::row!): structs whose fields are columns.

/// Declares a struct whose fields are columns, so that a topology can read, keep and write it.
///
/// The struct can be a key or a value of a stream or a table. A serde such as
/// [`Json`](crate::serdes::Json) reads and writes it by the names of its fields. Structs are
/// compared field by field, in order. The constant `COLUMNS` holds the names of the fields, for
/// [`Produced`](crate::options::Produced).
///
/// - A field is a value of one column: `bool`, `i32`, `u32`, `i64`, [`Double`](crate::row::Double),
///   `String`, [`Word`](crate::serdes::Word), [`Timestamp`](crate::Timestamp), `Vec<u8>`, or an
///   `Option` of one of these, where `None` is null. For a float use `Double`: `f64` has neither a
///   total order nor a hash.
/// - Attributes of the struct and of its fields are kept, `#[derive(Copy)]` and `#[serde(…)]` too.
/// - The macro derives `Clone`, `Debug`, `PartialEq`, `Eq`, `PartialOrd`, `Ord`, `Hash`,
///   `Serialize` and `Deserialize`, and implements [`Row`](crate::row::Row). The struct has no type
///   parameters and at least one field.
///
/// ```
/// use watershed::prelude::{Value::{Boolean, Long, Null}, *};
/// use watershed::row;
///
/// row! {
///     /// An order.
///     struct Order {
///         /// Number of the customer.
///         customer: i64,
///         /// Pieces; unknown is null.
///         pieces: Option<i64>,
///         paid: bool,
///     }
/// }
/// assert_eq!(Order::COLUMNS, ["customer", "pieces", "paid"]);
///
/// let mut driver = TopologyTestDriver::new(Topology::new("shop", |builder: &StreamsBuilder<'_>| {
///     let orders = builder.table("order", Consumed::with(Int64, Json));
///     let paid = orders.filter(|_id, order: &Order| order.paid);
///     paid.to("paid", Produced::columns(["id"]).and(Order::COLUMNS));
/// }))?;
/// let orders = driver.input("order", Int64, Json);
/// orders.pipe(&mut driver, &1, &Order { customer: 7, pieces: None, paid: true });
/// orders.pipe(&mut driver, &2, &Order { customer: 8, pieces: Some(3), paid: false });
/// driver.commit()?;
/// assert_eq!(driver.rows("paid"), [[Long(1), Long(7), Null, Boolean(true)]]);
/// # Ok::<(), Error>(())
/// ```
#[macro_export]
macro_rules! row {
    ($(#[$of_struct:meta])* $visible:vis struct $name:ident {
        $($(#[$of_field:meta])* $field_visible:vis $field:ident: $ty:ty),+ $(,)?
    }) => {
        #[derive(
            Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash,
            $crate::row::serde::Serialize, $crate::row::serde::Deserialize,
        )]
        #[serde(crate = "::watershed::row::serde")]
        $(#[$of_struct])*
        $visible struct $name {
            $($(#[$of_field])* $field_visible $field: $ty),+
        }

        impl $name {
            /// The names of the columns, which are the names of the fields.
            #[allow(dead_code, reason = "a struct that is not written needs no names")]
            $visible const COLUMNS: [&'static str; [$(stringify!($field)),+].len()] =
                [$($crate::row::column_name(stringify!($field))),+];
        }

        impl $crate::row::Row for $name {
            fn columns() -> ::std::vec::Vec<($crate::row::ColumnType, bool)> {
                [$(<$ty as $crate::row::Row>::columns()),+].concat()
            }

            fn put(&self, out: &mut dyn $crate::row::Put) {
                $($crate::row::Row::put(&self.$field, out);)+
            }
        }
    };
}

/// Returns the column of a field: its name without the `r#` of a raw identifier.
pub const fn column_name(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', ..] => field.split_at(2).1,
        _ => field,
    }
}

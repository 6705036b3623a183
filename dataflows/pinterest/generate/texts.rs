//! Texts of pins, already escaped as JSON.

/// Number of tags of a category. It is a prime, so that a walk with any stride visits different
/// tags.
pub(super) const TAGS: u64 = 13;

/// The subjects and tags of a category.
pub(super) struct Category {
    pub(super) name: &'static str,
    pub(super) things: [&'static str; 8],
    pub(super) tags: [&'static str; TAGS as usize],
}

/// Adjectives in titles.
pub(super) const ADJECTIVES: [&str; 16] = [
    "Easy",
    "Cosy",
    "Timeless",
    "Clever",
    "Affordable",
    "Gorgeous",
    "Simple",
    "Bold",
    "Quick",
    "Charming",
    "Unusual",
    "Budget-Friendly",
    "Beautiful",
    "Creative",
    "Rustic",
    "Brilliant",
];

/// Second parts of titles.
pub(super) const TAILS: [&str; 16] = [
    "You Will Want To Try This Weekend",
    "For Beginners",
    "That Anyone Can Make",
    "To Copy Right Now",
    "On A Small Budget",
    "For Every Season",
    "Your Friends Will Ask About",
    "(With Free Printable)",
    "We Can't Stop Looking At",
    "That Make Life Easier",
    "For Busy People",
    "In Under One Hour",
    "From Start To Finish",
    "And How To Get Them Right",
    "Worth Saving For Later",
    "Everyone Is Talking About This Year",
];

/// Endings of some titles.
pub(super) const EXTRAS: [&str; 10] =
    ["🎄", "✨✨", "❤️", "😍", "🎨🖌️", "🔥", "🌿", "— part 2", "| 2021", "👉 see more"];

/// Titles in other languages.
pub(super) const FOREIGN: [&str; 7] = [
    "Идеи для дома своими руками",
    "Красивые вещи на каждый день",
    "Просто и со вкусом: подборка идей",
    "Ideias simples para todos os dias",
    "Schöne Ideen für jeden Tag",
    "Décoration facile à faire soi-même",
    "手作りのアイデア集",
];

/// Sentences of descriptions.
pub(super) const SENTENCES: [&str; 16] = [
    "Here is a list of our favourites, with photographs and a short note on each.",
    "All you need are a few things you have at home and a free afternoon.",
    "The full tutorial is on the blog, step by step.",
    "Save this for later and tell us which one you like best!",
    "These ideas work for small rooms as well as for large ones.",
    "We tried them all so that you don't have to.",
    "No experience needed: start with the first and see how far you get.",
    "Perfect as a last minute gift.",
    "Some are old, some are new, and most of them cost less than a cup of coffee.",
    "Read on for the materials, the time it takes and the mistakes to avoid.",
    "My children loved this one, and so did their grandmother.",
    "There is even a so-called \\\"five minute\\\" version at the end.",
    "Follow along for more ideas every week.",
    "Looking for something a little different this year?  You have come to the right place.",
    "It looks complicated, but it isn't.",
    "Find out how we did it and what we would change the next time.",
];

/// Sentences of some descriptions, in Russian.
pub(super) const RUSSIAN: [&str; 4] = [
    "Простые и красивые идеи для всей семьи.",
    "Сохраните, чтобы не потерять!",
    "Пошаговая инструкция с фотографиями в блоге.",
    "Нам понадобится совсем немного времени.",
];

/// The 13 categories, in alphabetical order.
#[rustfmt::skip]
pub(super) const CATEGORIES: [Category; 13] = [
    Category {
        name: "art",
        things: [
            "watercolour landscapes", "charcoal portraits", "abstract canvases", "ink sketches",
            "clay figures", "oil pastel drawings", "gouache studies", "paper collages",
        ],
        tags: [
            "Watercolor Art Lessons", "Abstract Painting", "Drawing Tips", "Canvas Art Projects",
            "Art Inspiration Drawing", "Sketchbook Ideas", "Color Theory", "Acrylic Painting",
            "Simple Oil Pastel", "Art Journal Pages", "Paper Collage", "Line Art", "Modern Sculpture",
        ],
    },
    Category {
        name: "beauty",
        things: [
            "glowing skin routines", "soft curls", "almond nails", "evening make-up looks",
            "braided hairstyles", "home-made face masks", "short haircuts", "eyeliner styles",
        ],
        tags: [
            "Skin Care Routine", "Natural Make-up", "Nail Designs", "Hair Inspiration", "Beauty Hacks",
            "Braids For Long Hair", "Glowing Skin", "Lip Colors", "Wedding Hairstyles", "Acne Remedies",
            "Face Mask Recipe", "Eyebrow Shaping", "Everyday Looks",
        ],
    },
    Category {
        name: "christmas",
        things: [
            "snowman garlands", "gingerbread houses", "wooden stars", "advent calendars", "mantel decorations",
            "felt stockings", "pine cone wreaths", "window candles",
        ],
        tags: [
            "Christmas Decorations Diy", "Winter Wreaths", "Advent Calendar", "Holiday Baking",
            "Farmhouse Christmas", "Outdoor Lights", "Christmas Tree Ideas", "Xmas Crafts", "Gift Wrapping",
            "Snowman Ornaments", "Dollar Store Christmas", "Festive Table", "Noel",
        ],
    },
    Category {
        name: "diy-and-crafts",
        things: [
            "macramé hangers", "paper lanterns", "pallet shelves", "painted rocks", "sock puppets",
            "knitted coasters", "button bowls", "popsicle stick boats",
        ],
        tags: [
            "Diy Crafts For Kids", "Paper Crafts", "Macrame Patterns", "Summer Crafts", "Upcycling Projects",
            "Preschool Activities", "Crochet Basics", "Diy Gifts", "Recycled Art", "Sewing For Beginners",
            "Toddler Crafts", "Cardboard Ideas", "Easy Weekend Projects",
        ],
    },
    Category {
        name: "education",
        things: [
            "phonics games", "fraction worksheets", "reading corners", "science experiments", "spelling cards",
            "classroom routines", "alphabet puzzles", "homework planners",
        ],
        tags: [
            "Teaching Resources", "Classroom Decor", "First Grade Maths", "Reading Comprehension",
            "Learning Through Play", "Science For Kids", "Homeschool Schedule", "Study Tips", "Phonics",
            "Special Education", "Lesson Plans", "Back To School", "Teacher Tips",
        ],
    },
    Category {
        name: "event-planning",
        things: [
            "garden weddings", "balloon arches", "dessert tables", "baby shower games", "seating charts",
            "picnic birthdays", "rustic centrepieces", "graduation parties",
        ],
        tags: [
            "Event Planning Tips", "Wedding Checklist", "Party Decorations", "Baby Shower Ideas",
            "Birthday Themes", "Table Settings", "Corporate Events", "Balloon Garland", "Catering Business",
            "Bridal Party", "Photo Booth", "Event Design", "Budget Wedding",
        ],
    },
    Category {
        name: "finance",
        things: [
            "monthly budgets", "savings challenges", "debt snowballs", "side incomes", "grocery plans",
            "emergency funds", "pension plans", "no-spend weeks",
        ],
        tags: [
            "Saving Money", "Budget Template", "Personal Finance", "Debt Free Living", "Side Hustle",
            "Frugal Tips", "Investing For Beginners", "Money Management", "Passive Income",
            "Financial Freedom", "Retirement Planning", "Credit Score", "Cash Envelopes",
        ],
    },
    Category {
        name: "home-decor",
        things: [
            "gallery walls", "open shelves", "linen curtains", "small balconies", "farmhouse kitchens",
            "reading nooks", "boho bedrooms", "entry tables",
        ],
        tags: [
            "Home Decor Ideas", "Living Room Colors", "Small Apartment", "Farmhouse Style", "Boho Bedroom",
            "Kitchen Makeover", "Wall Shelves", "Rustic Interior", "Minimalist Home", "Bathroom Tiles",
            "Indoor Plants", "Vintage Furniture", "Cozy Lighting",
        ],
    },
    Category {
        name: "mens-fashion",
        things: [
            "linen suits", "denim jackets", "leather boots", "summer outfits", "wool coats",
            "plain white shirts", "weekend bags", "street looks",
        ],
        tags: [
            "Mens Fashion Casual", "Suit Styles", "Street Style", "Gentleman Look", "Summer Outfits Men",
            "Mens Boots", "Winter Coats", "Denim On Denim", "Smart Casual", "Capsule Wardrobe",
            "Mens Accessories", "Beard And Hair", "Vintage Menswear",
        ],
    },
    Category {
        name: "quotes",
        things: [
            "quotes about courage", "short morning lines", "sayings about home", "words for hard days",
            "quotes on friendship", "one-line poems", "lines about the sea", "thoughts on patience",
        ],
        tags: [
            "Inspirational Quotes", "Motivation", "Quotes To Live By", "Words Of Wisdom", "Life Quotes",
            "Positive Thoughts", "Friendship Sayings", "Self Love", "Short Poems", "Mindset",
            "Morning Motivation", "Quotes Deep", "Happy Words",
        ],
    },
    Category {
        name: "tattoos",
        things: [
            "fine line tattoos", "small wrist tattoos", "floral sleeves", "matching tattoos",
            "mountain outlines", "lettering tattoos", "blackwork animals", "moon and sun tattoos",
        ],
        tags: [
            "Tattoo Ideas", "Small Tattoos", "Fine Line Ink", "Forearm Tattoo", "Tattoos For Women",
            "Tattoos For Guys", "Sleeve Designs", "Minimalist Tattoo", "Geometric Ink", "Flower Tattoo",
            "Memorial Tattoos", "Stencil Outline", "Traditional Ink",
        ],
    },
    Category {
        name: "travel",
        things: [
            "hidden beaches", "night trains", "mountain huts", "island itineraries", "city walks",
            "packing lists", "desert roads", "northern lights trips",
        ],
        tags: [
            "Travel Guide", "Bucket List", "Solo Travel", "Beach Vacation", "Road Trip", "Budget Travel",
            "Packing Tips", "City Break", "Travel Photography", "Adventure Time", "Hidden Places",
            "Family Holidays", "Backpacking",
        ],
    },
    Category {
        name: "vehicles",
        things: [
            "restored vans", "electric bikes", "vintage motorcycles", "old lorries", "rally cars",
            "camper conversions", "steam tractors", "concept cars",
        ],
        tags: [
            "Classic Cars", "Motorcycle Custom", "Camper Van Life", "Electric Vehicles", "Sports Cars",
            "Truck Mods", "Off Road", "Car Interior", "Vintage Trucks", "Bike Restoration", "Dream Garage",
            "Race Cars", "Car Care Tips",
        ],
    },
];

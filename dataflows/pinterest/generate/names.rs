//! Names of users and posters.

/// First names, in alphabetical order.
#[rustfmt::skip]
pub(super) const FIRST: [&str; 235] = [
    "Aaron", "Abigail", "Adam", "Adrian", "Agnes", "Aisha", "Alan", "Albert", "Alejandra", "Alex", "Alice", "Alicia",
    "Alison", "Allen", "Alma", "Alvin", "Amanda", "Amber", "Amelia", "Amir", "Amy", "Ana", "Andre", "Andrea", "Andrew",
    "Angela", "Anita", "Anna", "Anthony", "April", "Ariel", "Arthur", "Ashley", "Astrid", "Audrey", "Austin", "Ava",
    "Barbara", "Beatrice", "Benjamin", "Bianca", "Brandon", "Brenda", "Brian", "Bruno", "Caleb", "Camila", "Carla",
    "Carlos", "Caroline", "Casey", "Catherine", "Cesar", "Charlotte", "Chloe", "Christian", "Clara", "Colin", "Connor",
    "Cora", "Cynthia", "Dalia", "Daniel", "Darius", "Deborah", "Denise", "Diana", "Diego", "Dmitri", "Dominic", "Donna",
    "Dylan", "Edith", "Edward", "Elena", "Eli", "Elise", "Emil", "Emma", "Eric", "Esther", "Ethan", "Eva", "Faith",
    "Felix", "Fiona", "Frances", "Frank", "Gabriel", "Gemma", "George", "Gina", "Gloria", "Grace", "Gregory", "Hannah",
    "Harold", "Hassan", "Heather", "Helen", "Henry", "Holly", "Hugo", "Ian", "Ida", "Ines", "Irene", "Isaac", "Isabel",
    "Ivan", "Jack", "Jacob", "Jade", "Jamal", "Jane", "Jasmine", "Jason", "Jean", "Jennifer", "Jessica", "Joan", "Joel",
    "John", "Jonas", "Jordan", "Joseph", "Judith", "Julia", "Justin", "Karen", "Katie", "Keith", "Kelly", "Kenneth",
    "Kevin", "Kira", "Kyle", "Laura", "Lauren", "Leah", "Leo", "Liam", "Linda", "Lisa", "Louis", "Lucia", "Lucy",
    "Luis", "Lydia", "Manuel", "Marcus", "Margaret", "Maria", "Mark", "Martin", "Mason", "Maya", "Megan", "Melissa",
    "Michael", "Mila", "Miriam", "Monica", "Nadia", "Naomi", "Natalie", "Nathan", "Nicole", "Nina", "Noah", "Nora",
    "Olga", "Oliver", "Olivia", "Omar", "Oscar", "Pablo", "Pamela", "Patrick", "Paula", "Peter", "Philip", "Priya",
    "Rachel", "Rafael", "Ralph", "Rebecca", "Renee", "Ricardo", "Robin", "Rosa", "Ruben", "Ruth", "Ryan", "Sabrina",
    "Samuel", "Sandra", "Sara", "Scott", "Sean", "Selma", "Simon", "Sofia", "Sonia", "Stella", "Stephen", "Susan",
    "Sven", "Tamara", "Tara", "Teresa", "Thomas", "Tiffany", "Tina", "Tobias", "Tracy", "Tyler", "Ursula", "Valerie",
    "Vanessa", "Vera", "Victor", "Vincent", "Viola", "Walter", "Wanda", "Wendy", "William", "Xavier", "Yasmin", "Yusuf",
    "Yvonne", "Zachary", "Zara", "Zoe",
];

/// Last names.
#[rustfmt::skip]
pub(super) const LAST: [&str; 231] = [
    "Abbott", "Acosta", "Adams", "Aguilar", "Ahmed", "Alvarez", "Andersen", "Archer", "Arnold", "Atkins", "Bailey",
    "Baker", "Barnes", "Becker", "Bennett", "Berg", "Bishop", "Blake", "Boyd", "Brennan", "Brooks", "Bryant", "Burke",
    "Byrne", "Campos", "Carr", "Castillo", "Chambers", "Chan", "Chavez", "Choi", "Clarke", "Cohen", "Coleman", "Conway",
    "Cooper", "Costa", "Crawford", "Cruz", "Curtis", "Dalton", "Davies", "Delgado", "Diaz", "Dixon", "Doyle", "Duarte",
    "Duncan", "Eaton", "Edwards", "Ellis", "Erickson", "Esposito", "Evans", "Farrell", "Fernandez", "Fischer",
    "Fleming", "Flores", "Foster", "Fowler", "Fraser", "Fuentes", "Gallagher", "Garcia", "Gardner", "Gibson", "Gomez",
    "Gordon", "Graham", "Grant", "Greene", "Griffin", "Guzman", "Haas", "Hale", "Hamilton", "Hansen", "Harper", "Hart",
    "Hayes", "Henderson", "Herrera", "Hicks", "Hoffman", "Holt", "Howard", "Hughes", "Hunt", "Hussain", "Ibrahim",
    "Ingram", "Ivanova", "Jacobs", "James", "Jansen", "Jenkins", "Jensen", "Johnston", "Joyce", "Kaur", "Keller",
    "Kemp", "Khan", "Kim", "King", "Klein", "Knight", "Koch", "Kowalski", "Kumar", "Lambert", "Lang", "Larsen",
    "Lawson", "Lee", "Lewis", "Lindgren", "Lloyd", "Lopez", "Lowe", "Lynch", "Mackenzie", "Marsh", "Martinez", "Mason",
    "Maxwell", "Mcdonald", "Medina", "Mendoza", "Meyer", "Miles", "Miller", "Molina", "Moore", "Morales", "Moreno",
    "Murphy", "Nash", "Navarro", "Nelson", "Newton", "Nguyen", "Nichols", "Nolan", "Novak", "Nunez", "O'Brien",
    "O'Connor", "Oliveira", "Olsen", "Ortega", "Osborne", "Owens", "Pacheco", "Park", "Parsons", "Patel", "Pena",
    "Perkins", "Petrov", "Phillips", "Pierce", "Pope", "Porter", "Powell", "Quinn", "Ramirez", "Ramsey", "Reed",
    "Reyes", "Rhodes", "Richards", "Rios", "Robertson", "Rojas", "Romero", "Rossi", "Rowe", "Ruiz", "Russell",
    "Salazar", "Sanders", "Santos", "Schmidt", "Schultz", "Sharma", "Shaw", "Silva", "Simmons", "Singh", "Sloan",
    "Snyder", "Soto", "Sparks", "Stanley", "Steele", "Stone", "Sullivan", "Sutton", "Tanaka", "Thornton", "Torres",
    "Tran", "Tucker", "Underwood", "Valdez", "Vargas", "Vasquez", "Vaughn", "Vega", "Wagner", "Walsh", "Walters",
    "Warren", "Watkins", "Weber", "Webster", "Welch", "Wheeler", "Whitaker", "Wilkins", "Wolfe", "Wong", "Wright",
    "Yates", "York", "Young", "Zamora", "Ziegler", "Zimmerman",
];

/// Endings of posters' names.
pub(super) const SHOPS: [&str; 16] = [
    "Handmade",
    "Studio",
    "Lifestyle Blog",
    "Journal",
    "At Home",
    "Inspiration",
    "Ideas & More",
    "Little Things",
    "Creative Co.",
    "DIY Corner",
    "Notes & Notions",
    "Everyday Design",
    "Café",
    "Мастерская",
    "Workshop ✂️",
    "The Happy Planner",
];

/// The poster whose follower count drifts.
pub(super) const DRIFTER: &str = "Anchor & Alder | Slow Living";

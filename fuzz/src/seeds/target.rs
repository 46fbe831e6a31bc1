//! Names of code, names in `/proc`, and types of a kernel.

/// A library with two functions of which one is inlined in the other, and debug information; and a
/// binary without either.
pub fn symbols() -> Vec<Vec<u8>> {
    let mut seeds = super::elf();
    seeds.push(include_bytes!("../../seeds/inlined.so").to_vec());
    seeds
}

/// Names that a thread or a file may have, and what the kernel says.
pub fn proc() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 6] = [
        b"worker",
        b"a) R 1 (b\n\\",
        b"gr\xc3\xbcn\xff",
        b"1200 30 4\n",
        b"Name:\tapp\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t9\nVmRSS:\t  120 kB\n",
        b"some avg10=0.00 avg60=0.00 avg300=0.00 total=12\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n",
    ];
    texts.map(<[u8]>::to_vec).into()
}

/// `struct s { int a; struct { int b; }; }`, a type that names itself, and a function.
pub fn kernel_types() -> Vec<Vec<u8>> {
    let names = b"\0int\0s\0a\0b\0t\0f\0";
    let kind = |kind: u32, members: u32| kind << 24 | members;
    let types: [u32; 31] = [
        // 1: int
        1,
        kind(1, 0),
        4,
        32,
        // 2: struct { int b; }
        0,
        kind(4, 1),
        4,
        9,
        1,
        0,
        // 3: struct s
        5,
        kind(4, 2),
        8,
        7,
        1,
        0,
        0,
        2,
        32,
        // 4: typedef t t
        11,
        kind(8, 0),
        4,
        // 5: a function's type, and 6: f
        0,
        kind(13, 0),
        0,
        13,
        kind(12, 0),
        5,
        // 7: int *
        0,
        kind(2, 0),
        1,
    ];
    let mut bytes = 0xeb9f_u16.to_ne_bytes().to_vec();
    bytes.extend([1, 0]);
    let len = size_of_val(&types) as u32;
    for word in [24, 0, len, len, names.len() as u32] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes.extend(types.iter().flat_map(|word| word.to_ne_bytes()));
    bytes.extend(names);
    vec![bytes]
}

//! `versus`: engines side by side. See `aquifer_benches::compare`.

fn main() -> anyhow::Result<()> {
    aquifer_benches::compare::main()
}

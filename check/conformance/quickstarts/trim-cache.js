// Leaves in a cache of npm what installing from lock files wants: trim-cache.js NPM CACHE
//
// What the registry says about a package lists all its versions, tens of megabytes for some; only those whose archives are
// there stay. Archives for musl are for distributions other than ours.
const [npm, cache] = [process.argv[2], `${process.argv[3]}/_cacache`];
const cacache = require(`${npm}/node_modules/cacache`);

async function trim() {
  const entries = Object.values(await cacache.ls(cache));
  const isArchive = (key) => key.endsWith(".tgz") || key.startsWith("pacote:");
  const archives = entries.map((entry) => entry.key).filter((key) => key.endsWith(".tgz"));
  const there = new Set(archives.map((key) => key.split("/").pop().slice(0, -".tgz".length)));
  for (const { key, metadata } of entries) {
    const isOfMusl = key.includes("musl");
    if (isArchive(key) && !isOfMusl) continue;
    const { data } = await cacache.get(cache, key);
    await cacache.rm.entry(cache, key, { removeFully: true });
    if (isOfMusl) continue;
    const about = JSON.parse(data);
    const name = about.name.split("/").pop();
    const versions = Object.entries(about.versions).filter(([version]) => there.has(`${name}-${version}`));
    const left = { ...about, versions: Object.fromEntries(versions), "dist-tags": {}, time: undefined };
    await cacache.put(cache, key, JSON.stringify(left), { metadata });
  }
  await cacache.verify(cache);
}

trim();

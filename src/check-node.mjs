// Plain JavaScript, so that an old Node.js can run it and say what is wrong in one line.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major !== 22 || minor < 18) {
  console.error(
    `statewire needs Node.js 22 (22.18 or later), and this is ${process.versions.node}. Try: npx -y -p node@22 -c "npm start"`,
  )
  process.exit(1)
}

// Reads an AsyncAPI document on stdin with the parser of AsyncAPI itself; what it has to say as JSON, one object.
const { Parser } = require('@asyncapi/parser')
const { readFileSync } = require('fs')

async function main () {
  const { document, diagnostics } = await new Parser().parse(readFileSync(0, 'utf8'))
  const wrong = diagnostics.filter((one) => one.severity <= 1).map((one) => `${one.path.join('.')}: ${one.message}`)
  const channels = document ? document.channels().all().map((one) => one.id()) : []
  const operations = document ? document.operations().all().map((one) => one.id()) : []
  console.log(JSON.stringify({ wrong, channels, operations, version: document && document.version() }))
}

main()

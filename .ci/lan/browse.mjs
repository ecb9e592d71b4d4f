// Browses for gateways with npm's bonjour-service, and prints a line of JSON for each that comes or goes.
import { Bonjour } from 'bonjour-service'

const say = (event) => (s) =>
  console.log(JSON.stringify({ event, name: s.name, host: s.host, port: s.port, txt: s.txt, addresses: s.addresses }))
const browser = new Bonjour().find({ type: 'gardien' })
browser.on('up', say('up'))
browser.on('down', say('down'))
console.log(JSON.stringify({ event: 'browsing' }))

// MQTT.js: what only MQTT 5 has.
import { once } from 'node:events'
import { check, equal, failure, packet, PROPERTIES, scenario, sleep } from './mqttjs_cell.mjs'

const V5 = { versions: ['5'] }
const STAYS = { clean: false, properties: { sessionExpiryInterval: 1000 } }

scenario('session expiry', async cell => {
  // It is over after its second. The twins are the sessions that are kept.
  const brief = { clean: false, properties: { sessionExpiryInterval: 1 } }
  await (await cell.connect('brief', brief)).endAsync()
  await sleep(2200)
  equal((await cell.connect('brief', brief)).connack.sessionPresent, false, 'Session Present afterwards')
}, V5)

scenario('session expiry at DISCONNECT', async cell => {
  const topic = `${cell.topic}/expiry`
  const watch = await cell.connect('watch')
  await watch.subscribeAsync(topic, { qos: 1 })
  const will = { topic, payload: 'gone', qos: 1, retain: false }
  // Shortened to 0, and made longer than a second. The will says that the broker has had the DISCONNECT.
  for (const [atConnect, atDisconnect, present] of [[1000, 0, false], [1, 1000, true]]) {
    const one = await cell.connect('change', { clean: false, will, properties: { sessionExpiryInterval: atConnect } })
    await one.endAsync(false, { reasonCode: 4, properties: { sessionExpiryInterval: atDisconnect } })
    await watch.inbox()
    if (present) await sleep(2200)
    const two = await cell.connect('change', { clean: false })
    equal(two.connack.sessionPresent, present, `Session Present with ${atDisconnect} at DISCONNECT`)
    await two.endAsync()
  }
}, V5)

scenario('message expiry', async cell => {
  const topic = `${cell.topic}/ages`
  const [one, publisher] = [await cell.connect('ages', STAYS), await cell.connect('pub')]
  await one.subscribeAsync(topic, { qos: 1 })
  await one.endAsync()
  for (const [payload, messageExpiryInterval] of [['goes', 1], ['stays', 60]]) {
    await publisher.publishAsync(topic, payload, { qos: 1, properties: { messageExpiryInterval } })
  }
  await sleep(2200)
  await publisher.publishAsync(topic, 'end', { qos: 1 })
  const client = await cell.connect('ages', { clean: false })
  const [stays, end] = [await client.inbox(), await client.inbox()]
  equal([stays, end].map(({ payload }) => String(payload)), ['stays', 'end'], 'what waited')
  const left = stays.properties.messageExpiryInterval
  check(left > 30 && left <= 58, `${left} s remain of 60`)
  equal(end.properties.messageExpiryInterval, undefined, 'an expiry that nobody asked for')
}, V5)

for (const [name, key] of [
  ['payload format indicator', 'payloadFormatIndicator'],
  ['content type', 'contentType'],
  ['user properties', 'userProperties']
]) {
  scenario(name, async cell => {
    const topic = `${cell.topic}/${key}`
    const client = await cell.connect('both', { properties: { userProperties: { of: 'CONNECT' } } })
    await client.subscribeAsync(topic, { qos: 1, properties: { userProperties: { of: 'SUBSCRIBE' } } })
    await client.publishAsync(topic, 'with', { qos: 1, properties: { [key]: PROPERTIES[key] } })
    await client.publishAsync(topic, 'without', { qos: 1 })
    equal((await client.inbox()).properties[key], PROPERTIES[key], name)
    equal((await client.inbox()).properties[key], undefined, `${name} of a message without`)
  }, V5)
}

scenario('request and response', async cell => {
  const [topic, answers] = [`${cell.topic}/request`, `${cell.topic}/answers`]
  const [server, asks] = [await cell.connect('serves'), await cell.connect('asks')]
  await server.subscribeAsync(topic, { qos: 1 })
  await asks.subscribeAsync(answers, { qos: 1 })
  const { correlationData } = PROPERTIES
  await asks.publishAsync(topic, 'question', { qos: 1, properties: { responseTopic: answers, correlationData } })
  const { properties } = await server.inbox()
  await server.publishAsync(properties.responseTopic, 'answer', { qos: 1, properties: { correlationData: properties.correlationData } })
  const answer = await asks.inbox()
  equal([String(answer.payload), answer.properties.correlationData], ['answer', correlationData], 'the answer')
}, V5)

scenario('response information', async cell => {
  const asks = await cell.connect('asks', { properties: { requestResponseInformation: true } })
  equal(asks.connack.properties.responseInformation, 'answers/', 'Response Information')
  const silent = await cell.connect('silent')
  equal(silent.connack.properties.responseInformation, undefined, 'what is told to who does not ask')
}, V5)

scenario('subscription identifiers', async cell => {
  const topic = `${cell.topic}/identifier`
  const client = await cell.connect('both')
  for (const [filter, subscriptionIdentifier] of [[`${topic}/#`, 1], [`${topic}/+`, 268_435_455]]) {
    await client.subscribeAsync(filter, { qos: 1, properties: { subscriptionIdentifier } })
  }
  await client.publishAsync(`${topic}/x`, 'x', { qos: 1 })
  const got = [await client.inbox(), await client.inbox()].map(({ properties }) => properties.subscriptionIdentifier)
  equal(got.flat().sort(), [1, 268_435_455], 'Subscription Identifiers')
}, V5)

scenario('no local', async cell => {
  const topic = `${cell.topic}/no-local`
  const [one, two] = [await cell.connect('one'), await cell.connect('two')]
  await one.subscribeAsync(topic, { qos: 1, nl: true })
  await one.publishAsync(topic, 'own', { qos: 1 })
  await two.publishAsync(topic, 'other', { qos: 1 })
  equal(await one.payloads(1), ['other'], 'the first message')
}, V5)

scenario('retain handling', async cell => {
  const topic = `${cell.topic}/handling`
  const client = await cell.connect('both')
  await client.publishAsync(topic, 'retained', { qos: 1, retain: true })
  // 0: at each SUBSCRIBE; 1: at the first; 2: never.
  for (const [rh, wanted] of [[0, 2], [1, 1], [2, 0]]) {
    for (let n = 0; n < 2; n++) await client.subscribeAsync(topic, { qos: 1, rh })
    await client.publishAsync(topic, 'live', { qos: 1 })
    equal(await client.payloads(wanted + 1), [...Array(wanted).fill('retained'), 'live'], `what ${rh} gives`)
    await client.unsubscribeAsync(topic)
  }
  await client.publishAsync(topic, '', { qos: 1, retain: true })
}, V5)

scenario('retain as published', async cell => {
  const topic = `${cell.topic}/published`
  const client = await cell.connect('both')
  for (const rap of [true, false]) {
    await client.subscribeAsync(topic, { qos: 1, rap, rh: 2 })
    await client.publishAsync(topic, 'x', { qos: 1, retain: true })
    equal((await client.inbox()).packet.retain, rap, 'RETAIN')
  }
  await client.publishAsync(topic, '', { qos: 1, retain: true })
}, V5)

scenario('topic alias to the broker', async cell => {
  const topic = `${cell.topic}/alias`
  // It gives the alias by itself from the second message on.
  const client = await cell.connect('both', { autoAssignTopicAlias: true })
  check(client.connack.properties.topicAliasMaximum >= 2, 'aliases are allowed')
  await client.subscribeAsync(`${topic}/#`, { qos: 1 })
  for (const name of ['a', 'b', 'a', 'b', 'a']) await client.publishAsync(`${topic}/${name}`, 'x', { qos: 1 })
  const sent = client.packets.filter(({ from, cmd }) => from === 'client' && cmd === 'publish').map(({ topic }) => topic)
  equal(sent, [`${topic}/a`, `${topic}/b`, '', '', ''], 'topics on the wire')
  for (const name of ['a', 'b', 'a', 'b', 'a']) equal((await client.inbox()).topic, `${topic}/${name}`, 'topic')
}, V5)

scenario('topic alias to the client', async cell => {
  const topic = `${cell.topic}/alias/of/the/broker`
  const client = await cell.connect('alias', { properties: { topicAliasMaximum: 2 } })
  await client.subscribeAsync(topic, { qos: 1 })
  for (const wire of [topic, '']) {
    await client.publishAsync(topic, 'x', { qos: 1 })
    const got = await client.inbox()
    equal([got.topic, String(got.packet.topic)], [topic, wire], 'topic, and that on the wire')
    check(got.properties.topicAlias > 0, 'Topic Alias')
  }
}, V5)

scenario('receive maximum', async cell => {
  const topic = `${cell.topic}/receive-maximum`
  const [slow, publisher] = [await cell.connect('slow', { properties: { receiveMaximum: 1 } }), await cell.connect('pub')]
  await slow.subscribeAsync(topic, { qos: 2 })
  const sent = Array.from({ length: 10 }, (_, n) => `${n}`)
  await Promise.all(sent.map(n => publisher.publishAsync(topic, n, { qos: 2 })))
  equal(await slow.payloads(10), sent, 'messages')
  const steps = slow.packets.map(({ from, cmd }) => `${cmd} of ${from}`)
  const order = steps.filter(step => ['publish of broker', 'pubcomp of client'].includes(step)).slice(0, 19)
  // The next message comes when the one before it is done with.
  equal(order, Array.from({ length: 19 }, (_, n) => n % 2 ? 'pubcomp of client' : 'publish of broker'), 'the order of packets')
}, V5)

scenario('maximum packet size', async cell => {
  const topic = `${cell.topic}/size`
  const [small, publisher] = [await cell.connect('small', { properties: { maximumPacketSize: 200 } }), await cell.connect('pub')]
  await small.subscribeAsync(topic, { qos: 1 })
  for (const payload of ['x'.repeat(200), 'fits']) await publisher.publishAsync(topic, payload, { qos: 1 })
  equal(await small.payloads(1), ['fits'], 'what arrived')
}, V5)

/// Enhanced authentication with the words that the broker's test plugin takes.
function words (text) {
  return { authenticationMethod: 'TEST', authenticationData: Buffer.from(text) }
}

scenario('server keep alive', async cell => {
  // It wanted 60 s, and pings every two seconds because the broker says so.
  const client = await cell.connect('keep', { keepalive: 60, properties: words('accept keep_alive=2') })
  equal(client.connack.properties.serverKeepAlive, 2, 'Server Keep Alive')
  for (let n = 0; n < 2; n++) await packet(client, { cmd: 'pingresp' })
}, V5)

scenario('assigned client identifier', async cell => {
  const names = [await cell.connectAs(''), await cell.connectAs('')].map(({ connack }) => connack.properties.assignedClientIdentifier)
  check(names.every(name => name) && names[0] !== names[1], `whether ${names} are two names`)
}, V5)

scenario('announced limits', async cell => {
  const { properties } = (await cell.connect('limits', { properties: words('accept qos_max=1 retain=0') })).connack
  equal([properties.maximumQoS, properties.retainAvailable], [1, false], 'Maximum QoS, Retain Available')
  const { receiveMaximum, maximumPacketSize } = (await cell.connect('free')).connack.properties
  check(receiveMaximum > 0 && maximumPacketSize > 0, 'Receive Maximum, Maximum Packet Size')
}, V5)

scenario('reason codes', async cell => {
  const topic = `${cell.topic}/codes`
  const client = await cell.connect('codes')
  const answer = async (cmd, ask) => {
    const answered = packet(client, { cmd })
    ask()
    return await answered
  }
  equal((await answer('suback', () => client.subscribe([topic, 'secret/x'], { qos: 1 }, () => {}))).granted, [1, 0x87], 'SUBACK')
  for (const [to, code] of [[topic, 0], ['secret/x', 0x87]]) {
    const { reasonCode } = await answer('puback', () => client.publish(to, 'x', { qos: 1 }, () => {}))
    equal(reasonCode ?? 0, code, 'PUBACK')
  }
  for (const code of [0, 0x11]) {
    equal((await answer('unsuback', () => client.unsubscribe(topic, () => {}))).granted, [code], 'UNSUBACK')
  }
  equal((await refused(cell)).reasonCode, 0x8A, 'CONNACK')
}, V5)

async function refused (cell, properties) {
  const error = await failure(cell.connectAs(`fault-reject-aloud-${cell.name}`, { properties }), 'a client that is refused')
  return error.connack
}

scenario('reason string', async cell => {
  equal((await refused(cell)).properties.reasonString, 'for the client', 'Reason String of CONNACK')
}, V5)

scenario('request problem information', async cell => {
  for (const [requestProblemInformation, reason] of [[false, undefined], [true, 'for the client']]) {
    const { properties } = await refused(cell, { requestProblemInformation })
    equal(properties?.reasonString, reason, `Reason String with ${requestProblemInformation}`)
  }
}, V5)

scenario('redirection', async cell => {
  const { connack } = await failure(cell.connectAs(`fault-redirect-${cell.name}`), 'a client that is redirected')
  equal([connack.reasonCode, connack.properties.serverReference], [0x9C, 'other.example:1883'], 'CONNACK')
}, V5)

async function diesWithWill (cell, what, topic, properties, more = {}) {
  const client = await cell.connect(what, { will: { topic, payload: what, qos: 1, retain: false, properties }, ...more })
  client.stream.destroy()
}

scenario('will delay', async cell => {
  const topic = `${cell.topic}/delay`
  const watch = await cell.connect('watch')
  await watch.subscribeAsync(topic, { qos: 1 })
  await diesWithWill(cell, 'late', topic, { willDelayInterval: 1 }, STAYS)
  const began = Date.now()
  equal(await watch.payloads(1), ['late'], 'the will')
  check(Date.now() - began > 800, 'whether it waits')
  // It also comes when its session ends, here by a clean start.
  await diesWithWill(cell, 'ended', topic, { willDelayInterval: 1000 }, STAYS)
  await cell.connect('ended')
  equal(await watch.payloads(1), ['ended'], 'the will of the session that ended')
  await cell.connect('late')
}, V5)

scenario('will delay cancelled', async cell => {
  const topic = `${cell.topic}/cancel`
  const watch = await cell.connect('watch')
  await watch.subscribeAsync(topic, { qos: 1 })
  await diesWithWill(cell, 'back', topic, { willDelayInterval: 4 }, STAYS)
  await cell.connect('back', { clean: false })
  await sleep(5500)
  await watch.publishAsync(topic, 'end', { qos: 1 })
  equal(await watch.payloads(1), ['end'], 'what came')
}, V5)

scenario('will properties', async cell => {
  const topic = `${cell.topic}/will-properties`
  const watch = await cell.connect('watch')
  await watch.subscribeAsync(topic, { qos: 1 })
  await diesWithWill(cell, 'rich', topic, { ...PROPERTIES })
  const { properties } = await watch.inbox()
  const { messageExpiryInterval: left, ...rest } = properties
  check(left > 50 && left <= 60, `${left} s remain of 60`)
  for (const [name, value] of Object.entries(PROPERTIES)) {
    if (name !== 'messageExpiryInterval') equal(rest[name], value, name)
  }
}, V5)

scenario('will asked for at DISCONNECT', async cell => {
  const topic = `${cell.topic}/asks`
  const watch = await cell.connect('watch')
  await watch.subscribeAsync(topic, { qos: 1 })
  const asks = await cell.connect('asks', { will: { topic, payload: 'asked', qos: 1, retain: false } })
  await asks.endAsync(false, { reasonCode: 4 })
  equal(await watch.payloads(1), ['asked'], 'the will')
}, V5)

scenario('DISCONNECT by the broker', async cell => {
  const first = await cell.connect('twice')
  const told = once(first, 'disconnect')
  await cell.connect('twice')
  const [{ reasonCode }] = await told
  equal(reasonCode, 0x8E, 'Session taken over')
}, V5)

scenario('enhanced authentication', async cell => {
  const { properties } = (await cell.connect('proves', { properties: words('accept') })).connack
  equal([properties.authenticationMethod, String(properties.authenticationData)], ['TEST', 'after 0'], 'CONNACK')
  const error = await failure(cell.connect('proves', { properties: words('reject') }), 'a proof that is none')
  equal(error.code, 0x86, 'CONNACK')
}, V5)

/// Answers two AUTH packets with "continue", the third with this.
function answers (last) {
  let rounds = 0
  return (asked, callback) => {
    if (asked.reasonCode === 0) return callback()
    rounds += 1
    equal([asked.reasonCode, String(asked.properties.authenticationData)], [0x18, `round ${rounds}`], 'AUTH')
    callback(null, { cmd: 'auth', reasonCode: 0x18, properties: words(rounds < 3 ? 'continue' : last) })
  }
}

scenario('enhanced authentication in rounds', async cell => {
  const client = await cell.connect('rounds', { properties: words('continue'), auth: answers('accept') })
  equal(String(client.connack.properties.authenticationData), 'after 3', 'Authentication Data of CONNACK')
  await client.publishAsync(`${cell.topic}/x`, 'admitted', { qos: 1 })
  const error = await failure(cell.connect('rounds', { properties: words('continue'), auth: answers('reject') }), 'a wrong answer')
  equal(error.code, 0x86, 'CONNACK')
}, V5)

scenario('re-authentication', async cell => {
  const client = await cell.connect('anew', { properties: words('accept'), auth: answers('accept deny=secret/# allow=#') })
  const done = packet(client, { cmd: 'auth', reasonCode: 0 })
  // MQTT.js answers AUTH; to begin one it has no method of its own.
  client._sendPacket({ cmd: 'auth', reasonCode: 0x19, properties: words('continue') })
  equal(String((await done).properties.authenticationData), 'after 3', 'Authentication Data of the last AUTH')
  await client.publishAsync(`${cell.topic}/x`, 'still here', { qos: 1 })
  const error = await failure(client.publishAsync('secret/x', 'x', { qos: 1 }), 'what the new identity may not')
  equal(error.code, 0x87, 'PUBACK')
}, V5)

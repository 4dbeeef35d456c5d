// A DNS server on its own port, which serves the TXT records that a test adds (RFC 1035).

import { createSocket } from 'node:dgram';

export interface Dns {
	/** Host and port. */
	address: string;
	/** Adds a TXT record. */
	publish(name: string, text: string): void;
	close(): Promise<void>;
}

const HEADER_BYTES = 12;
const TYPE_TXT = 16;

export async function startDns(): Promise<Dns> {
	const records = new Map<string, string>();
	const socket = createSocket('udp4');
	socket.on('message', (query, peer) => {
		socket.send(reply(query, records), peer.port, peer.address);
	});
	await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
	return {
		address: `127.0.0.1:${socket.address().port}`,
		publish: (name, text) => records.set(name.toLowerCase(), text),
		close: () => new Promise((resolve) => socket.close(() => resolve()))
	};
}

function reply(query: Buffer, records: Map<string, string>): Buffer {
	const labels: string[] = [];
	let at = HEADER_BYTES;
	while (query[at] !== 0) {
		const end = at + 1 + query[at];
		labels.push(query.toString('latin1', at + 1, end).toLowerCase());
		at = end;
	}
	const question = query.subarray(HEADER_BYTES, at + 5);
	const found = records.get(labels.join('.'));
	const isAsked = found !== undefined && query.readUInt16BE(at + 1) === TYPE_TXT;
	const header = Buffer.alloc(HEADER_BYTES);
	query.copy(header, 0, 0, 2);
	// A response to a recursive query. A name without records gets NXDOMAIN.
	header.writeUInt16BE(found === undefined ? 0x8183 : 0x8180, 2);
	header.writeUInt16BE(1, 4);
	header.writeUInt16BE(isAsked ? 1 : 0, 6);
	if (!isAsked) return Buffer.concat([header, question]);
	const text = Buffer.from(found);
	// A pointer to the name of the question, TXT, IN, a TTL of one hour, and one text.
	const record = [0xc0, 12, 0, TYPE_TXT, 0, 1, 0, 0, 14, 16, 0, text.length + 1, text.length];
	return Buffer.concat([header, question, Buffer.from(record), text]);
}

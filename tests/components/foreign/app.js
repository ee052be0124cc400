// A component in JavaScript, for componentize-js: the world `program` of texts.wit.
import { write } from "demo:texts/log";

class Tally {
  constructor(start) {
    this.sum = start;
  }
  add(number) {
    this.sum += number;
    return this.sum;
  }
  static largest(tallies) {
    return tallies.length ? Math.max(...tallies.map((tally) => tally.sum)) : undefined;
  }
}

export const texts = {
  Tally,
  counted(text) {
    if (!text) throw { tag: "empty" };
    if ([...text].length > 1000) throw { tag: "too-long", val: [...text].length };
    const times = new Map();
    for (const word of text.split(/\s+/).filter(Boolean)) times.set(word, (times.get(word) ?? 0) + 1);
    return [...times].map(([word, times]) => ({ word, times }));
  },
  bytesOf(number) {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, number);
    return bytes;
  },
};

export function greet(name) {
  const written = write("warning", `greeting ${name}`);
  return `Hello, ${name}! (${written})`;
}

export function fail() {
  throw new Error("this program fails");
}

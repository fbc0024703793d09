import OpenAI from "openai";

const [, , url, api] = process.argv;
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none" });
const asked = { model: "org/model", stream: true };
try {
  const events =
    api === "chat"
      ? await client.chat.completions.create({ ...asked, messages: [] })
      : await client.responses.create({ ...asked, input: "hi" });
  for await (const event of events) console.log(event.type ?? event.choices[0].delta.content);
} catch (error) {
  console.log(error.constructor.name, error.code, error.message);
}

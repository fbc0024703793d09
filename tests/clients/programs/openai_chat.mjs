import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "none" });
const messages = [{ role: "user", content: "hi" }];
try {
  const answer = await client.chat.completions.create({ model: "org/model", messages });
  console.log(answer.choices[0].message.content);
} catch (error) {
  console.log(error.constructor.name, error.code);
}

import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.kafka.common.utils.Exit;
import org.apache.kafka.tools.AclCommand;

/** Gives each line of a file to AclCommand, which is what kafka-acls.sh runs, in one Java machine. */
public class RunAcls {
    public static void main(String[] given) throws Exception {
        Exit.setExitProcedure((code, message) -> {
            if (code != 0) {
                throw new IllegalStateException("exit " + code + ": " + message);
            }
        });
        for (String line : Files.readAllLines(Path.of(given[0]))) {
            AclCommand.main(line.trim().split("\\s+"));
        }
    }
}

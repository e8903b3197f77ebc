package rpcguard;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.cloud.netflix.eureka.server.EnableEurekaServer;
import org.springframework.context.annotation.Bean;
import org.springframework.security.config.Customizer;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.crypto.password.NoOpPasswordEncoder;
import org.springframework.security.crypto.password.PasswordEncoder;
import org.springframework.security.web.SecurityFilterChain;

@SpringBootApplication
@EnableEurekaServer
public class EurekaApp {
  public static void main(String[] args) {
    SpringApplication.run(EurekaApp.class, args);
  }

  /** Basic authentication for all, as the Spring Cloud manual has it for Eureka. */
  @Bean
  SecurityFilterChain basicOnly(HttpSecurity http) throws Exception {
    return http.csrf(csrf -> csrf.disable())
        .authorizeHttpRequests(all -> all.anyRequest().authenticated())
        .httpBasic(Customizer.withDefaults())
        .build();
  }

  /** The usual encoder takes 70 ms for each request. */
  @Bean
  @SuppressWarnings("deprecation")
  PasswordEncoder plain() {
    return NoOpPasswordEncoder.getInstance();
  }
}
